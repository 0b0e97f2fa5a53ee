// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package kvdb is a small key-value database whose directory looks and behaves like the one ev-node leaves behind:
// a write-ahead file of fixed apparent size, immutable tables, a large sparse value log, a lock on the directory, and
// a pid file. All values are kept in memory; every committed batch survives the end of the process.
package kvdb

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
)

const (
	memSize  = 128 << 20 // apparent size of a write-ahead file while it is open
	vlogSize = 2<<30 - 2 // apparent size of the value log while it is open
	vlogHead = 20        // bytes of the value log that are really written
	memLimit = 512 << 10 // content after which a write-ahead file becomes a table
	maxBatch = 64 << 20  // a larger length in a file means that the file is damaged
)

// Batch collects changes that become visible and durable together.
type Batch struct {
	buf []byte
	ops []op
}

type op struct {
	key    string
	value  []byte
	remove bool
}

// Put sets a key.
func (b *Batch) Put(key string, value []byte) {
	b.ops = append(b.ops, op{key: key, value: append([]byte(nil), value...)})
}

// Delete removes a key.
func (b *Batch) Delete(key string) { b.ops = append(b.ops, op{key: key, remove: true}) }

func (b *Batch) encode() []byte {
	b.buf = b.buf[:0]
	for _, o := range b.ops {
		flag := byte(0)
		if o.remove {
			flag = 1
		}
		b.buf = append(b.buf, flag)
		b.buf = binary.AppendUvarint(b.buf, uint64(len(o.key)))
		b.buf = append(b.buf, o.key...)
		b.buf = binary.AppendUvarint(b.buf, uint64(len(o.value)))
		b.buf = append(b.buf, o.value...)
	}
	return b.buf
}

func decode(raw []byte, each func(op)) error {
	take := func() ([]byte, bool) {
		n, w := binary.Uvarint(raw)
		if w <= 0 || n > uint64(len(raw)-w) {
			return nil, false
		}
		part := raw[w : w+int(n)]
		raw = raw[w+int(n):]
		return part, true
	}
	for len(raw) > 0 {
		flag := raw[0]
		raw = raw[1:]
		key, ok := take()
		if !ok {
			return errors.New("key is cut off")
		}
		value, ok := take()
		if !ok {
			return errors.New("value is cut off")
		}
		each(op{key: string(key), value: append([]byte(nil), value...), remove: flag == 1})
	}
	return nil
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	dir  string
	lock *os.File

	mu     sync.RWMutex
	data   map[string][]byte
	mem    *os.File
	memNo  int
	memEnd int64
	closed bool
}

// Open opens or creates the database in dir. A directory that another process has open is an error.
func Open(dir string) (*DB, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("failed to create database directory %s: %w", dir, err)
	}
	lock, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("failed to open database directory %s: %w", dir, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("Cannot acquire directory lock on %q.  Another process is using this Badger database. error: %v", dir, err)
	}
	db := &DB{dir: dir, lock: lock, data: map[string][]byte{}}
	if err := db.load(); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("failed to open database %s: %w", dir, err)
	}
	return db, nil
}

func (db *DB) path(format string, args ...any) string {
	return filepath.Join(db.dir, fmt.Sprintf(format, args...))
}

func (db *DB) load() error {
	pid := fmt.Sprintf("%d\n", os.Getpid())
	if err := os.WriteFile(db.path("LOCK"), []byte(pid), 0o644); err != nil {
		return err
	}
	tables, mems, err := db.files()
	if err != nil {
		return err
	}
	last := 0
	for _, no := range tables {
		if _, err := db.replay(db.path("%06d.sst", no), true); err != nil {
			return err
		}
		last = no
	}
	db.memNo = last + 1
	for _, no := range mems {
		if no <= last { // it became a table just before the process ended
			if err := os.Remove(db.path("%05d.mem", no)); err != nil {
				return err
			}
			continue
		}
		db.memNo = no
	}
	db.memEnd, err = db.replay(db.path("%05d.mem", db.memNo), false)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := db.openMem(); err != nil {
		return err
	}
	vlog, err := os.OpenFile(db.path("000001.vlog"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer vlog.Close()
	if _, err := vlog.WriteAt([]byte("standin value log 1\n"), 0); err != nil {
		return err
	}
	if err := vlog.Truncate(vlogSize); err != nil {
		return err
	}
	return db.writeManifest()
}

func (db *DB) writeManifest() error {
	tables, _, err := db.files()
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("standin tables 1\n")
	for _, no := range tables {
		fmt.Fprintf(&b, "%06d.sst\n", no)
	}
	return os.WriteFile(db.path("MANIFEST"), []byte(b.String()), 0o600)
}

func (db *DB) files() (tables, mems []int, err error) {
	entries, err := os.ReadDir(db.dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		var no int
		switch ext := filepath.Ext(e.Name()); ext {
		case ".sst", ".mem":
			if _, err := fmt.Sscanf(strings.TrimSuffix(e.Name(), ext), "%d", &no); err != nil {
				continue
			}
			if ext == ".sst" {
				tables = append(tables, no)
			} else {
				mems = append(mems, no)
			}
		}
	}
	sort.Ints(tables)
	sort.Ints(mems)
	return tables, mems, nil
}

// replay reads the batches of a file and returns where they end. The end of a write-ahead file is the first place that
// holds no whole batch; in a table that is damage.
func (db *DB) replay(path string, table bool) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	var end int64
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			if table && err != io.EOF {
				return end, fmt.Errorf("table %s ends in the middle of a batch", path)
			}
			return end, nil
		}
		size, sum := binary.BigEndian.Uint32(head[:4]), binary.BigEndian.Uint32(head[4:])
		raw := make([]byte, min(size, maxBatch))
		_, err := io.ReadFull(r, raw)
		if size == 0 || size > maxBatch || err != nil || crc32.ChecksumIEEE(raw) != sum {
			if table {
				return end, fmt.Errorf("table %s is damaged at byte %d", path, end)
			}
			return end, nil
		}
		if err := decode(raw, db.apply); err != nil {
			return end, fmt.Errorf("%s at byte %d: %w", path, end, err)
		}
		end += int64(8 + size)
	}
}

func (db *DB) apply(o op) {
	if o.remove {
		delete(db.data, o.key)
	} else {
		db.data[o.key] = o.value
	}
}

func (db *DB) openMem() error {
	f, err := os.OpenFile(db.path("%05d.mem", db.memNo), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	// what lies behind the last whole batch must read as zeros
	if err := f.Truncate(db.memEnd); err == nil {
		err = f.Truncate(memSize)
		if err != nil {
			return err
		}
	} else {
		return err
	}
	db.mem = f
	return nil
}

// Commit writes a batch in one piece and applies it.
func (db *DB) Commit(b *Batch) error {
	if len(b.ops) == 0 {
		return nil
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return errors.New("database is closed")
	}
	body := b.encode()
	record := make([]byte, 8, 8+len(body))
	binary.BigEndian.PutUint32(record[:4], uint32(len(body)))
	binary.BigEndian.PutUint32(record[4:], crc32.ChecksumIEEE(body))
	record = append(record, body...)
	if _, err := db.mem.WriteAt(record, db.memEnd); err != nil {
		return fmt.Errorf("failed to write to %s: %w", db.mem.Name(), err)
	}
	db.memEnd += int64(len(record))
	for _, o := range b.ops {
		db.apply(o)
	}
	if db.memEnd > memLimit {
		if err := db.flush(); err != nil {
			return err
		}
		db.memNo++
		db.memEnd = 0
		return db.openMem()
	}
	return nil
}

// flush turns the write-ahead file into a table. The table is complete on disk before the file goes.
func (db *DB) flush() error {
	name := db.mem.Name()
	if db.memEnd > 0 {
		final := db.path("%06d.sst", db.memNo)
		f, err := os.OpenFile(final+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return err
		}
		if _, err = io.Copy(f, io.NewSectionReader(db.mem, 0, db.memEnd)); err == nil {
			err = f.Sync()
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			err = os.Rename(final+".tmp", final)
		}
		if err != nil {
			return fmt.Errorf("failed to write table %s: %w", final, err)
		}
	}
	if err := db.mem.Close(); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil {
		return err
	}
	return db.writeManifest()
}

// Close turns everything into tables, shrinks the value log and releases the directory. A process that ends without
// Close leaves the files at their apparent sizes and loses nothing.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil
	}
	db.closed = true
	err := db.flush()
	err = errors.Join(err, os.Truncate(db.path("000001.vlog"), vlogHead), os.Remove(db.path("LOCK")), db.lock.Sync())
	return errors.Join(err, db.lock.Close())
}

// Get returns a value.
func (db *DB) Get(key string) ([]byte, bool) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	v, ok := db.data[key]
	return v, ok
}

// Entry is a key with its value.
type Entry struct {
	Key   string
	Value []byte
}

// Scan returns all entries whose key starts with prefix, sorted by key.
func (db *DB) Scan(prefix string) []Entry {
	db.mu.RLock()
	var out []Entry
	for k, v := range db.data {
		if strings.HasPrefix(k, prefix) {
			out = append(out, Entry{k, v})
		}
	}
	db.mu.RUnlock()
	sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}
