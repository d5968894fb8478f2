// Fetches the URL that is its argument with Java's defaults, and says what became of it.
public class Client {
    public static void main(String[] arguments) throws Exception {
        var connection = (javax.net.ssl.HttpsURLConnection) new java.net.URL(arguments[0]).openConnection();
        connection.setConnectTimeout(20_000);
        connection.setReadTimeout(20_000);
        try {
            System.out.println("answer " + connection.getResponseCode());
        } catch (javax.net.ssl.SSLException refused) {
            System.out.println("refused " + refused.getMessage());
        }
    }
}
