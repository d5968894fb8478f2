// Fetches the URLs that are its arguments with Java's defaults, and prints a line with the result of each.
public class Client {
    public static void main(String[] arguments) throws Exception {
        for (String url : arguments) {
            var connection = (javax.net.ssl.HttpsURLConnection) new java.net.URL(url).openConnection();
            connection.setConnectTimeout(20_000);
            connection.setReadTimeout(20_000);
            try {
                System.out.println("answer " + connection.getResponseCode());
            } catch (javax.net.ssl.SSLException refused) {
                System.out.println("refused " + refused.getMessage());
            }
        }
    }
}
