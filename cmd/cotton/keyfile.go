package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aosc/aosc/internal/cotton"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

// keysCommand shows which admin key each server uses.
func keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys [name]", Short: "Show which admin keys the executors have, and by which each server's certificate was issued",
		Args: cobra.MaximumNArgs(1)}
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) error {
		list, err := a.Clusters(ctx)
		if err != nil {
			return err
		}
		if len(args) == 1 {
			if list = slices.DeleteFunc(list, func(c v1.Cluster) bool { return c.Name != args[0] }); len(list) == 0 {
				_, err := a.Cluster(ctx, args[0]) // says that there is none
				return err
			}
		}
		return a.print(v1.Clusters{Clusters: list}, func(w io.Writer) { keysTable(w, list) })
	})
}

func keysTable(w io.Writer, list []v1.Cluster) {
	fmt.Fprintln(w, "INSTANCE\tKEYS\tCERTIFICATE BY\tGOOD UNTIL")
	for _, c := range list {
		for _, in := range c.Instances {
			by, until := "none", "-"
			if in.Certificate != nil {
				by, until = in.Certificate.Key, in.Certificate.Until.Format(time.DateOnly)
			}
			keys := "not known"
			if len(in.Keys) > 0 {
				keys = strings.Join(in.Keys, ", ")
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", in.Name, keys, by, until)
		}
	}
}

// keyfileCommand edits a file of admin keys.
func keyfileCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keyfile", Short: "Make and rotate a file of admin keys, see docs/cotton.md"}
	add := func(use, short string, edit func(cotton.AdminKeys) (cotton.AdminKeys, error)) {
		cmd.AddCommand(&cobra.Command{Use: use + " FILE", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := cotton.ReadAdminKeys(args[0])
			if err != nil {
				return err
			}
			if edit != nil {
				if keys, err = edit(keys); err != nil {
					return err
				}
				if err := replaceKeyfile(args[0], keys.Format()); err != nil {
					return err
				}
			}
			for i, id := range keys.IDs() {
				how := "is accepted"
				if i == 0 {
					how = "is used"
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", id, how)
			}
			return nil
		}})
	}
	add("show", "Show the ids of the keys, that which is used first", nil)
	add("add", "Add a new key as the last: it is accepted, and not used yet", addKey)
	add("use", "Have the last key used: it becomes the first, and the others are still accepted", func(keys cotton.AdminKeys) (cotton.AdminKeys, error) {
		n := len(keys) - 1
		return append(cotton.AdminKeys{keys[n]}, keys[:n]...), nil
	})
	add("drop", "Leave the first key alone in the file: the others are accepted no more", func(keys cotton.AdminKeys) (cotton.AdminKeys, error) {
		return keys[:1], nil
	})
	return cmd
}

func addKey(keys cotton.AdminKeys) (cotton.AdminKeys, error) {
	if len(keys) > 1 {
		return nil, errors.New("the file holds several keys: end the rotation that is under way first (`cotton keyfile use`, then `drop`)")
	}
	next := make(cotton.AdminKey, 32)
	_, _ = rand.Read(next) // never fails
	return append(keys, next), nil
}

// replaceKeyfile keeps mode and owner; whoever reads the file meanwhile reads the old one or the new one.
func replaceKeyfile(path string, text []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".keyfile-")
	if err != nil {
		return fmt.Errorf("replace the admin keys: %w", err)
	}
	defer os.Remove(f.Name()) // not there any more when all went well
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), keepOwner(f, info), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("replace the admin keys: %w", err)
	}
	return nil
}
