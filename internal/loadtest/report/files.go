package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Files are the paths that a document is written to. Empty: not in that form.
type Files struct{ JSON, CSV, HLog, HTML string }

// WriteAll writes d in all forms that files name, as Save does. One that cannot be written does not stop the others: the
// error joins those of all.
func (d Document) WriteAll(files Files) error {
	var errs []error
	for _, f := range []struct {
		path  string
		write func(io.Writer) error
	}{{files.JSON, d.WriteJSON}, {files.CSV, d.WriteCSV}, {files.HLog, d.WriteHLog}, {files.HTML, d.WriteHTML}} {
		if f.path == "" {
			continue
		}
		if err := Save(f.path, f.write); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Try says which of the files cannot be written, before there is anything to write.
func (f Files) Try() error {
	var errs []error
	named := map[string]bool{"": true}
	for _, path := range []string{f.JSON, f.CSV, f.HLog, f.HTML} {
		if errs = append(errs, Try(path)); path != "" && named[path] {
			errs = append(errs, fmt.Errorf("%s: expected a file for each form", path))
		}
		named[path] = true
	}
	return errors.Join(errs...)
}

// Try says why Save could not write a file now. It leaves no trace. An empty path is no file.
func Try(path string) error {
	if path == "" {
		return nil
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		if info.IsDir() {
			return fmt.Errorf("%s: expected a file, and it is a directory", path)
		}
		return nil // to open a pipe would wait for its reader
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("%s: %w", path, errors.Unwrap(err))
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Save has a file written. It is written whole, or keeps what it had; what is there and is no regular file, such as a
// terminal, is written to. The error has the path.
func Save(path string, write func(io.Writer) error) error {
	if err := save(path, write); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func save(path string, write func(io.Writer) error) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // renaming would replace the device
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(buffered(f, write), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	err = errors.Join(buffered(f, write), f.Chmod(0o644), f.Sync(), f.Close()) // some disks are full only when it is synced
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func buffered(w io.Writer, write func(io.Writer) error) error {
	b := bufio.NewWriter(w)
	if err := write(b); err != nil {
		return err
	}
	return b.Flush()
}
