import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import java.util.Enumeration;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

/** Loads NUMBER.jks and NUMBER.p12 of a directory, each with two good roots and that of NUMBER.der. */
class Readers {
    static X509Certificate leaf;

    public static void main(String[] arguments) throws Exception {
        Path here = Path.of(arguments[0]);
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        byte[] der = Files.readAllBytes(here.resolve("good-leaf.der"));
        leaf = (X509Certificate) factory.generateCertificate(new ByteArrayInputStream(der));
        List<Path> stores;
        try (Stream<Path> paths = Files.list(here)) {
            stores = paths.filter(path -> path.toString().matches(".*\\.(jks|p12)")).sorted().collect(Collectors.toList());
        }
        StringBuilder out = new StringBuilder();
        for (Path path : stores) {
            String file = path.getFileName().toString();
            String number = file.substring(0, file.length() - 4);
            String type = file.endsWith("jks") ? "JKS" : "PKCS12";
            byte[] odd = Files.readAllBytes(here.resolve(number + ".der"));
            out.append("java-").append(type.toLowerCase()).append('\t').append(number).append('\t');
            out.append(outcome(path, type, odd).replace('\n', ' ')).append('\n');
        }
        System.out.print(out);
    }

    static String outcome(Path path, String type, byte[] odd) {
        try {
            KeyStore store = KeyStore.getInstance(type);
            store.load(new ByteArrayInputStream(Files.readAllBytes(path)), "changeit".toCharArray());
            int count = 0;
            boolean found = false;
            for (Enumeration<String> aliases = store.aliases(); aliases.hasMoreElements();) {
                String alias = aliases.nextElement();
                if (store.isCertificateEntry(alias)) {
                    count++;
                    found |= Arrays.equals(store.getCertificate(alias).getEncoded(), odd);
                }
            }
            TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
            factory.init(store);
            X509TrustManager manager = (X509TrustManager) factory.getTrustManagers()[0];
            manager.checkServerTrusted(new X509Certificate[] {leaf}, "ECDHE_ECDSA");
            if (manager.getAcceptedIssuers().length != 3 || count != 3) {
                return (count < 2 ? "store" : "root") + "\t" + count + " entries";
            }
            return found ? "loads\t" : "root\tother bytes";
        } catch (Throwable error) {
            Throwable root = error;
            while (root.getCause() != null) {
                root = root.getCause();
            }
            return "store\t" + root;
        }
    }
}
