// Reads a request a line (see verify_requests.py) and writes what the snippet in the folder webhook answers.
package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"

	"receiver/webhook"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		headers := http.Header{}
		for i := 2; i < len(fields); i += 2 {
			headers.Set(fields[i], string(decoded(fields[i+1])))
		}
		fmt.Println(webhook.Verify(headers, decoded(fields[1]), string(decoded(fields[0]))))
	}
}

func decoded(text string) []byte {
	bytes, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return bytes
}
