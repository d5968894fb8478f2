/* Reads the PEM files named on standard input, one a line, as real programs do, and prints a line of three fields for
 * each: OpenSSL's CAfile, a file of OpenSSL's CApath, GnuTLS. A field is the SHA-256 of every certificate found, in hex
 * and separated by commas, with `!` in front where the library refused the file or stopped in it. */
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_sha256(const unsigned char *der, size_t length) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(der, length, digest);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
        printf("%02x", digest[i]);
    putchar(',');
}

static void openssl_field(const char *path, int (*load)(X509_LOOKUP *, const char *, int)) {
    X509_STORE *store = X509_STORE_new();
    X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    ERR_clear_error();
    if (load(lookup, path, X509_FILETYPE_PEM) == 0)
        putchar('!');
    STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
    for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        X509 *certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
        unsigned char *der = NULL;
        int length = certificate == NULL ? 0 : i2d_X509(certificate, &der);
        if (length > 0)
            print_sha256(der, length);
        OPENSSL_free(der);
    }
    X509_STORE_free(store);
}

static void gnutls_field(const char *path) {
    gnutls_datum_t file;
    gnutls_x509_crt_t *list = NULL;
    unsigned count = 0;
    if (gnutls_load_file(path, &file) < 0)
        exit(2);
    if (gnutls_x509_crt_list_import2(&list, &count, &file, GNUTLS_X509_FMT_PEM, 0) < 0) {
        putchar('!');
    } else {
        for (unsigned i = 0; i < count; i++) {
            gnutls_datum_t der;
            if (gnutls_x509_crt_export2(list[i], GNUTLS_X509_FMT_DER, &der) < 0)
                exit(3);
            print_sha256(der.data, der.size);
            gnutls_free(der.data);
            gnutls_x509_crt_deinit(list[i]);
        }
        gnutls_free(list);
    }
    gnutls_free(file.data);
}

int main(void) {
    char path[4096];
    while (fgets(path, sizeof path, stdin) != NULL) {
        path[strcspn(path, "\n")] = 0;
        openssl_field(path, X509_load_cert_crl_file);
        putchar('\t');
        openssl_field(path, X509_load_cert_file);
        putchar('\t');
        gnutls_field(path);
        putchar('\n');
        fflush(stdout);
    }
    return 0;
}
