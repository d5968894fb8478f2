// Reads the PEM files named on standard input, one a line, as Go's crypto/x509 does, and prints for each the SHA-256 of
// every certificate found, in hex and separated by commas. `!` is in front where AppendCertsFromPEM found something else.
package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		file, err := os.ReadFile(lines.Text())
		if err != nil {
			panic(err)
		}
		// The pool does not tell what is in it: read the same way, then compare.
		real, ours := x509.NewCertPool(), x509.NewCertPool()
		real.AppendCertsFromPEM(file)
		found := ""
		for rest := file; ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			if block.Type != "CERTIFICATE" || len(block.Headers) != 0 {
				continue
			}
			if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
				ours.AddCert(certificate)
				found += fmt.Sprintf("%x,", sha256.Sum256(certificate.Raw))
			}
		}
		if !real.Equal(ours) {
			found = "!" + found
		}
		fmt.Fprintln(out, found)
	}
}
