package mysql

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
)

const (
	// hashThousands of rounds is what servers use before 9.x, unless caching_sha2_password_digest_rounds says otherwise;
	// the hash carries the number, in three hexadecimal digits.
	hashThousands = 5
	// hashSalt is the length of the salt in bytes. It is longer than the 16 of crypt(3), so no library for that serves.
	hashSalt = 20
	// hashAlphabet is crypt(3)'s: six bits a character, and nothing that a statement would have to quote.
	hashAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// HashPassword is a password as the server keeps it in mysql.user for caching_sha2_password, for statements of the form
// CREATE USER ... IDENTIFIED WITH caching_sha2_password AS '<hash>': so that nobody else has to keep the password. The
// salt is new each time.
func HashPassword(password string) (string, error) {
	salt := make([]byte, hashSalt)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	for i, b := range salt {
		salt[i] = hashAlphabet[b%64]
	}
	return hashPassword(password, string(salt), hashThousands), nil
}

// CheckPassword tells whether a password belongs to a hash made by HashPassword or by a server, in a time that does not
// depend on how much of it is right.
func CheckPassword(hash, password string) bool {
	rest, ok := strings.CutPrefix(hash, "$A$")
	if !ok || len(rest) != len("005$")+hashSalt+43 || rest[3] != '$' {
		return false
	}
	thousands, err := strconv.ParseUint(rest[:3], 16, 16)
	if err != nil {
		return false
	}
	again := hashPassword(password, rest[4:4+hashSalt], int(thousands))
	return subtle.ConstantTimeCompare([]byte(again), []byte(hash)) == 1
}

func hashPassword(password, salt string, thousands int) string {
	return fmt.Sprintf("$A$%03X$%s%s", thousands, salt, sha256Crypt([]byte(password), []byte(salt), thousands*1000))
}

// sha256Crypt is Ulrich Drepper's "Unix crypt using SHA-256", as in the server's
// mysys/crypt_genhash_impl.cc. The names are those of that specification.
func sha256Crypt(key, salt []byte, rounds int) string {
	b := sha256.Sum256(concat(key, salt, key))
	a := sha256.New()
	a.Write(key)
	a.Write(salt)
	a.Write(stretch(b[:], len(key)))
	for n := len(key); n > 0; n >>= 1 {
		if n&1 == 1 {
			a.Write(b[:])
		} else {
			a.Write(key)
		}
	}
	sum := a.Sum(nil)

	dp := sha256.New()
	for range key {
		dp.Write(key)
	}
	p := stretch(dp.Sum(nil), len(key))
	ds := sha256.New()
	for range 16 + int(sum[0]) {
		ds.Write(salt)
	}
	s := stretch(ds.Sum(nil), len(salt))

	for i := range rounds {
		c := sha256.New()
		odd := i%2 == 1
		write := func(when bool, yes, no []byte) {
			if when {
				c.Write(yes)
			} else {
				c.Write(no)
			}
		}
		write(odd, p, sum)
		write(i%3 != 0, s, nil)
		write(i%7 != 0, p, nil)
		write(odd, sum, p)
		sum = c.Sum(nil)
	}
	return encodeCrypt(sum)
}

// stretch repeats a digest up to n bytes.
func stretch(digest []byte, n int) []byte {
	out := make([]byte, 0, n+len(digest))
	for len(out) < n {
		out = append(out, digest...)
	}
	return out[:n]
}

func concat(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// encodeCrypt writes 32 bytes in the specification's order: three bytes that are ten apart, six bits a character from
// the lowest.
func encodeCrypt(sum []byte) string {
	var out strings.Builder
	put := func(v uint32, n int) {
		for range n {
			out.WriteByte(hashAlphabet[v&63])
			v >>= 6
		}
	}
	for i := range 10 {
		x, y, z := i, i+10, i+20
		switch i % 3 { // the three rotate
		case 1:
			x, y, z = z, x, y
		case 2:
			x, y, z = y, z, x
		}
		put(uint32(sum[x])<<16|uint32(sum[y])<<8|uint32(sum[z]), 4)
	}
	put(uint32(sum[31])<<8|uint32(sum[30]), 3)
	return out.String()
}

// Passwords are the hashes of an account's passwords: the one that it has, and the one that it had before and keeps
// (RETAIN CURRENT PASSWORD), empty for none.
type Passwords struct {
	Current, Retained string
	TLSOnly           bool // REQUIRE SSL or more
}

// Accepts tells whether the account can log in with a password. It takes some milliseconds.
func (p Passwords) Accepts(password string) bool {
	return CheckPassword(p.Current, password) || p.Retained != "" && CheckPassword(p.Retained, password)
}

// ReadPasswords reads those of user@'%'.
func ReadPasswords(ctx context.Context, db *sql.DB, user string) (Passwords, error) {
	var p Passwords
	err := db.QueryRowContext(ctx, "SELECT authentication_string, COALESCE(user_attributes->>'$.additional_password', ''), ssl_type <> '' FROM mysql.user"+
		" WHERE user = ? AND host = '%'", user).Scan(&p.Current, &p.Retained, &p.TLSOnly)
	if err != nil {
		return p, fmt.Errorf("read what passwords %s has: %w", user, err)
	}
	return p, nil
}

// ChangePassword gives user@'%' another password, over TLS only; the one that it has stays good until DiscardPassword.
func ChangePassword(ctx context.Context, db *sql.DB, user, password string) error {
	hash, err := HashPassword(password)
	if err != nil {
		return err
	}
	account := QuoteString(user) + "@'%'"
	return exec(ctx, db, "ALTER USER "+account+" IDENTIFIED WITH caching_sha2_password AS "+QuoteString(hash)+" RETAIN CURRENT PASSWORD REQUIRE SSL",
		"give "+user+" another password")
}

// DiscardPassword ends what ChangePassword left good.
func DiscardPassword(ctx context.Context, db *sql.DB, user string) error {
	return exec(ctx, db, "ALTER USER "+QuoteString(user)+"@'%' DISCARD OLD PASSWORD", "take the old password from "+user)
}
