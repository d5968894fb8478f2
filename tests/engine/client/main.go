// A TLS client that believes what Go's crypto/x509 finds in the image's own trust store, and nothing else.
// Built with CGO_ENABLED=0 it is one static file: it runs in an image that holds nothing but trustup.
//
//	client URL   prints the body and exits 0, or says why not and exits 1
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: client URL")
		os.Exit(2)
	}
	// No proxy of the environment: the servers are on loopback.
	client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
	response, err := client.Get(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer response.Body.Close()
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if response.StatusCode != http.StatusOK {
		fmt.Fprintln(os.Stderr, response.Status)
		os.Exit(1)
	}
}
