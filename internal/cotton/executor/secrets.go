package executor

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

// secrets are what an instance derives from the admin keys of its host: its passwords, and the certificate by which its server
// proves who it is.
type secrets struct {
	ring   *cotton.Keyring
	id     cotton.Identity
	server cotton.Server
	dir    string // of the files of TLS; empty for a task of an earlier scheduler, whose server has none

	mu          sync.Mutex
	certificate cotton.Certificate
}

// renewEvery is how often a certificate is looked at for its age.
const renewEvery = time.Hour

func openSecrets(task cotton.Task, volume string) (*secrets, error) {
	ring, err := cotton.OpenKeyring(task.AdminKeyfile)
	if err != nil {
		return nil, err
	}
	s := &secrets{ring: ring, id: task.Identity(), server: cotton.Server{Member: task.Member, Hosts: []string{task.Host}}}
	if task.Incarnation == "" {
		return s, nil
	}
	s.dir = filepath.Join(volume, cotton.TLSDir)
	_, err = s.prepare(time.Now())
	return s, err
}

// account is the administrator, for the server of this instance alone.
func (s *secrets) account() mysql.Credentials {
	return mysql.Credentials{
		User: cotton.AdminAccount, TLS: "required",
		Passwords: func() []string { return s.ring.Keys().Passwords(s.id, cotton.AdminAccount) },
		Authority: func(mysql.Addr) (mysql.Authority, error) {
			if s.dir == "" {
				return mysql.Authority{Unproven: true}, nil
			}
			pem, err := s.ring.Keys().Authorities(s.id)
			return mysql.Authority{PEM: pem, Name: s.id.ServerName(s.server.Member)}, err
		},
	}
}

// password that an account of a new data directory gets.
func (s *secrets) password(account string) string {
	return s.ring.Keys().Current().Password(s.id, account)
}

// prepare has the files of TLS as they should be now, and tells whether any was changed. Each is replaced as a whole.
func (s *secrets) prepare(now time.Time) (changed bool, err error) {
	if s.dir == "" {
		return false, nil
	}
	keys := s.ring.Keys()
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return false, fmt.Errorf("make the directory of the server's certificate: %w", err)
	}
	authorities, err := keys.Authorities(s.id)
	if err != nil {
		return false, err
	}
	path := filepath.Join(s.dir, cotton.AuthoritiesFile)
	if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, authorities) {
		if err := replaceFile(path, authorities); err != nil {
			return false, err
		}
		changed = true
	}
	path = filepath.Join(s.dir, cotton.CertificateFile)
	have, err := os.ReadFile(path)
	var c cotton.Certificate
	if err == nil {
		c, err = keys.ReadCertificate(s.id, s.server, have, now)
	}
	if err != nil { // there is none, or it does not serve any more
		if have, err = keys.Current().Issue(s.id, s.server, now); err != nil {
			return changed, err
		}
		if err := replaceFile(path, have); err != nil {
			return changed, err
		}
		changed = true
		if c, err = keys.ReadCertificate(s.id, s.server, have, now); err != nil {
			return changed, fmt.Errorf("the certificate that was just made does not serve: %w", err)
		}
	}
	s.mu.Lock()
	s.certificate = c
	s.mu.Unlock()
	return changed, nil
}

func replaceFile(path string, text []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write the server's certificate: %w", err)
	}
	return nil
}

// facts adds which keys are in use.
func (s *secrets) facts(f *cotton.Facts) {
	if s == nil {
		return
	}
	f.Keys = s.ring.Keys().IDs()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.certificate.Key != "" {
		c := s.certificate
		f.Certificate = &c
	}
}

// keepSecrets takes up other keys as soon as the file has them, and renews the certificate before it expires, until ctx ends. The
// server goes on meanwhile: connections that are open stay so.
func (i *instance) keepSecrets(ctx context.Context) {
	log := i.x.cfg.Log.With("instance", i.id)
	look := make(chan struct{}, 1)
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(func() {
		i.secrets.ring.Follow(ctx, func(changed bool, err error) {
			if err != nil {
				log.Error("the admin keys are not taken up anew", "error", err)
				return
			}
			log.Info("the admin keys have changed", "keys", i.secrets.ring.Keys().IDs())
			select {
			case look <- struct{}{}:
			default:
			}
		})
	})
	wait := renewEvery
	reload := false
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-look:
			timer.Stop()
		}
		changed, err := i.secrets.prepare(time.Now())
		reload = reload || changed
		if err == nil && reload {
			err = reloadTLS(ctx, i.server.DB())
		}
		if wait = renewEvery; err != nil {
			if ctx.Err() == nil {
				log.Error("the server does not use the certificate that it should, it is tried again", "error", err)
			}
			wait = i.x.cfg.Timing.Pulse
			continue
		}
		if reload {
			log.Info("the server has another certificate, or trusts other authorities", "keys", i.secrets.ring.Keys().IDs())
		}
		reload = false
		i.tell()
	}
}

// reloadLimit bounds one try: a server that hangs is tried again.
const reloadLimit = 10 * time.Second

// reloadTLS has the server read its files again.
func reloadTLS(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, reloadLimit)
	defer cancel()
	if _, err := db.ExecContext(ctx, "ALTER INSTANCE RELOAD TLS"); err != nil {
		return fmt.Errorf("have the server read its certificate again: %w", err)
	}
	return nil
}
