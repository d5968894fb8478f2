// Go reads certificates: a directory with good-1.der, good-2.der and a NUMBER.der for every case.
package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	files, err := filepath.Glob(filepath.Join(os.Args[1], "*.der"))
	if err != nil {
		panic(err)
	}
	armor := func(name string) []byte {
		der, err := os.ReadFile(name)
		if err != nil {
			panic(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	first := armor(filepath.Join(os.Args[1], "good-1.der"))
	last := armor(filepath.Join(os.Args[1], "good-2.der"))
	for _, file := range files {
		number := strings.TrimSuffix(filepath.Base(file), ".der")
		if strings.HasPrefix(number, "good") {
			continue
		}
		middle := armor(file)
		block, _ := pem.Decode(middle)
		_, err := x509.ParseCertificate(block.Bytes)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(bytes.Join([][]byte{first, middle, last}, nil))
		outcome := "loads"
		if count := len(pool.Subjects()); count < 2 {
			outcome = "store"
		} else if count < 3 || err != nil {
			outcome = "root"
		}
		why := ""
		if err != nil {
			why = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Printf("go\t%s\t%s\t%s\n", number, outcome, why)
	}
}
