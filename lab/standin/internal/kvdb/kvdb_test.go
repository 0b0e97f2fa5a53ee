// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package kvdb

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func put(t *testing.T, db *DB, key, value string) {
	t.Helper()
	b := &Batch{}
	b.Put(key, []byte(value))
	if err := db.Commit(b); err != nil {
		t.Fatal(err)
	}
}

// abandon drops a database the way the end of a process does: only the lock goes.
func abandon(db *DB) { _ = db.lock.Close() }

func TestCommittedBatchesSurviveTheEndOfTheProcess(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20000 {
		put(t, db, fmt.Sprintf("key-%05d", i), strings.Repeat("v", 40))
	}
	b := &Batch{}
	b.Delete("key-00000")
	if err := db.Commit(b); err != nil {
		t.Fatal(err)
	}
	abandon(db)
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(again.Scan("key-")); n != 19999 {
		t.Fatalf("%d keys, want 19999", n)
	}
	put(t, again, "late", "1")
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	third, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if n := len(third.Scan("")); n != 20000 {
		t.Fatalf("%d keys, want 20000", n)
	}
}

func TestTornBatchIsForgottenAsAWhole(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, db, "a", "1")
	whole := db.memEnd
	put(t, db, "b", strings.Repeat("2", 100))
	if err := os.Truncate(filepath.Join(dir, "00001.mem"), whole+50); err != nil {
		t.Fatal(err)
	}
	abandon(db)
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := again.Get("a"); !ok {
		t.Fatal("the whole batch is gone")
	}
	if _, ok := again.Get("b"); ok {
		t.Fatal("half a batch was applied")
	}
	put(t, again, "c", "3")
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	third, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if len(third.Scan("")) != 2 {
		t.Fatalf("found %v", third.Scan(""))
	}
}

func TestFilesAreSparseWhileOpenAndShrinkOnClose(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, db, "a", "1")
	for name, size := range map[string]int64{"000001.vlog": 2147483646, "00001.mem": 134217728} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Size() != size {
			t.Fatalf("%s: %v %v", name, info, err)
		}
		if real := info.Sys().(*syscall.Stat_t).Blocks * 512; real > 64<<10 {
			t.Fatalf("%s takes %d bytes on disk", name, real)
		}
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "Another process is using this Badger database.") {
		t.Fatalf("second opener: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "000001.vlog")); err != nil || info.Size() != vlogHead {
		t.Fatalf("value log after close: %v %v", info, err)
	}
	for _, gone := range []string{"00001.mem", "LOCK"} {
		if _, err := os.Stat(filepath.Join(dir, gone)); !os.IsNotExist(err) {
			t.Fatalf("%s is still there", gone)
		}
	}
}

func TestDamagedTableIsAnError(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, db, "a", "1")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	table := filepath.Join(dir, "000001.sst")
	raw, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	if err := os.WriteFile(table, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Fatalf("damaged table: %v", err)
	}
}
