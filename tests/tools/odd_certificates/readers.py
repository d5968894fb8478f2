"""OpenSSL (through Python's ssl and libcrypto), GnuTLS and NSS read certificates: argument 1 is a directory with
good-1.der, good-2.der and a NUMBER.der for every case; argument 2 a directory with an NSS database, if there is one.

Prints READER, NUMBER, what became of it, why: `loads`, `root` (it alone is not there), `store` (the others neither).
"""

import base64
import ctypes
import os
import ssl
import sys

here = sys.argv[1]
names = sorted(name[:-4] for name in os.listdir(here) if name.endswith(".der") and not name.startswith("good"))


def der_of(name):
    with open(os.path.join(here, name + ".der"), "rb") as file:
        return file.read()


def pem(der):
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return "-----BEGIN CERTIFICATE-----\n" + lines + "\n-----END CERTIFICATE-----\n"


good = [der_of("good-1"), der_of("good-2")]
bundle = os.path.join(here, "bundle.pem")


def say(reader, name, outcome, why=""):
    print(reader, name, outcome, str(why).replace("\n", " "), sep="\t")


crypto = ctypes.CDLL("libcrypto.so.3")
for function in ("X509_STORE_new", "X509_STORE_CTX_new", "d2i_X509"):
    getattr(crypto, function).restype = ctypes.c_void_p
NO_CHECK_TIME = 0x200000


def verified(der):
    """The error of X509_verify_cert for a certificate that is its own anchor."""
    data = ctypes.c_char_p(der)
    certificate = crypto.d2i_X509(None, ctypes.byref(data), ctypes.c_long(len(der)))
    if not certificate:
        return "not read"
    certificate = ctypes.c_void_p(certificate)
    store = ctypes.c_void_p(crypto.X509_STORE_new())
    crypto.X509_STORE_add_cert(store, certificate)
    crypto.X509_STORE_set_flags(store, ctypes.c_ulong(NO_CHECK_TIME))
    context = ctypes.c_void_p(crypto.X509_STORE_CTX_new())
    crypto.X509_STORE_CTX_init(context, store, certificate, None)
    result = crypto.X509_verify_cert(context)
    error = crypto.X509_STORE_CTX_get_error(context)
    crypto.X509_STORE_CTX_free(context)
    crypto.X509_STORE_free(store)
    crypto.X509_free(certificate)
    return "" if result == 1 else str(error)


def openssl(name, der):
    with open(bundle, "w") as file:
        file.write(pem(good[0]) + pem(der) + pem(good[1]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=bundle)
    except ssl.SSLError as error:
        return say("openssl", name, "store", error)
    there = context.cert_store_stats()["x509"]
    if there != 3:
        return say("openssl", name, "store" if there < 2 else "root", there)
    listed = context.get_ca_certs(binary_form=True)
    if not all(one in listed for one in good):
        return say("openssl", name, "store", "a good one is missing")
    if der not in listed:
        return say("openssl", name, "root", "no CA: error %s" % verified(der))
    say("openssl", name, "loads", verified(der))


tls = ctypes.CDLL("libgnutls.so.30")
tls.gnutls_strerror.restype = ctypes.c_char_p


def gnutls(name):
    trust = ctypes.c_void_p()
    tls.gnutls_x509_trust_list_init(ctypes.byref(trust), 0)
    read = tls.gnutls_x509_trust_list_add_trust_file(trust, bundle.encode(), None, 1, 0, 0)
    tls.gnutls_x509_trust_list_deinit(trust, 1)
    if read == 3:
        say("gnutls", name, "loads")
    elif read == 2:
        say("gnutls", name, "root", "passed over")
    else:
        say("gnutls", name, "store", tls.gnutls_strerror(read).decode() if read < 0 else read)


class Item(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("data", ctypes.c_void_p), ("len", ctypes.c_uint)]


class Links(ctypes.Structure):
    _fields_ = [("next", ctypes.c_void_p), ("prev", ctypes.c_void_p), ("certificate", ctypes.c_void_p)]


# Where derCert is in a CERTCertificate: behind an arena, two names and the four items of the signature.
DER_OFFSET = 3 * 8 + 4 * ctypes.sizeof(Item)

nss = ctypes.CDLL("libnss3.so")
for function in ("__CERT_DecodeDERCertificate", "PK11_GetInternalKeySlot", "PK11_ListCertsInSlot"):
    getattr(nss, function).restype = ctypes.c_void_p


def decoded_by_nss(der):
    buffer = ctypes.create_string_buffer(der, len(der))
    item = Item(0, ctypes.cast(buffer, ctypes.c_void_p), len(der))
    certificate = nss.__CERT_DecodeDERCertificate(ctypes.byref(item), 1, None)
    if certificate:
        nss.CERT_DestroyCertificate(ctypes.c_void_p(certificate))
    return bool(certificate)


def listed_by_nss():
    slot = ctypes.c_void_p(nss.PK11_GetInternalKeySlot())
    head = nss.PK11_ListCertsInSlot(slot)
    found = set()
    if not head:
        return found
    node = Links.from_address(head).next
    while node != head:
        link = Links.from_address(node)
        item = Item.from_address(link.certificate + DER_OFFSET)
        found.add(ctypes.string_at(item.data, item.len))
        node = link.next
    return found


if len(sys.argv) > 2:
    if nss.NSS_Init(("sql:" + sys.argv[2]).encode()) != 0:
        sys.exit("NSS_Init failed")
    listed = listed_by_nss()
    if not all(one in listed for one in good):
        sys.exit("NSS does not list the good ones among %d" % len(listed))
elif nss.NSS_NoDB_Init(None) != 0:
    sys.exit("NSS_NoDB_Init failed")

# Those that were put into the database.
wanted = set()
if len(sys.argv) > 2:
    with open(os.path.join(sys.argv[2], "numbers")) as file:
        wanted = set(file.read().split())

for name in names:
    der = der_of(name)
    openssl(name, der)
    gnutls(name)
    if not decoded_by_nss(der):
        say("nss", name, "root", "not decoded")
    elif name in wanted and der not in listed:
        say("nss", name, "root", "not listed")
    else:
        say("nss", name, "loads")
