package api

import (
	"crypto/rand"
	"unicode"
	"unicode/utf8"
)

// generatedLength of a password, as in the original: 125 bits.
const generatedLength = 21

const alphanumerics = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// generatePassword draws letters and digits, each as likely as the others.
func generatePassword() string {
	const fair = 256 - 256%len(alphanumerics) // bytes from here on would make the first characters likelier
	password := make([]byte, 0, generatedLength)
	var random [2 * generatedLength]byte
	for {
		_, _ = rand.Read(random[:]) // never fails
		for _, b := range random {
			if int(b) < fair {
				password = append(password, alphanumerics[int(b)%len(alphanumerics)])
			}
			if len(password) == generatedLength {
				return string(password)
			}
		}
	}
}

// maxPassword is the longest, in bytes, that caching_sha2_password takes.
const maxPassword = 256

// checkPassword refuses what the server or a client could not take. The password is never part of an error.
func checkPassword(password string) error {
	if len(password) > maxPassword || !utf8.ValidString(password) {
		return invalid("cluster_password", "Invalid password", "want at most 256 bytes of UTF-8")
	}
	for _, r := range password {
		if unicode.IsControl(r) {
			return invalid("cluster_password", "Invalid password", "control characters are not allowed")
		}
	}
	return nil
}
