// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package settings

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	prefix    = "evnode."
	oldPrefix = "rollkit."
)

// AddGlobalFlags registers --home and the log flags on the root command.
func AddGlobalFlags(cmd *cobra.Command, app string) {
	for _, o := range Default().options() {
		if o.persist {
			register(cmd.PersistentFlags(), o)
		}
	}
	cmd.PersistentFlags().String("home", DefaultHome(app), "directory of the node's files")
}

// AddFlags registers all other settings on a command, under both prefixes.
func AddFlags(cmd *cobra.Command) {
	cmd.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if rest, ok := strings.CutPrefix(name, oldPrefix); ok {
			name = prefix + rest
		}
		return pflag.NormalizedName(name)
	})
	for _, o := range Default().options() {
		if o.flag && !o.persist {
			register(cmd.Flags(), o)
		}
	}
	cmd.Flags().String(FlagPassphraseFile, "", "file that holds the passphrase of signer.json")
	_ = cmd.Flags().MarkHidden(prefix + "da.start_height")
	for _, pair := range [][2]string{
		{"node.light", "node.aggregator"},
		{"node.based_sequencer", "node.promotable"},
		{"node.light", "node.promotable"},
		{"node.catchup_timeout", "raft.enable"},
	} {
		cmd.MarkFlagsMutuallyExclusive(prefix+pair[0], prefix+pair[1])
	}
}

func register(fs *pflag.FlagSet, o option) {
	name := prefix + o.key
	switch t := o.target.(type) {
	case *string:
		fs.String(name, *t, o.help)
	case *bool:
		fs.Bool(name, *t, o.help)
	case *uint64:
		fs.Uint64(name, *t, o.help)
	case *int:
		fs.Int(name, *t, o.help)
	case *float64:
		fs.Float64(name, *t, o.help)
	case *[]string:
		fs.StringSlice(name, *t, o.help)
	case *Interval:
		fs.Duration(name, t.D(), o.help)
	case *time.Duration:
		fs.Duration(name, *t, o.help)
	default:
		panic(fmt.Sprintf("settings: no flag type for %T", t))
	}
}

// fromFlag copies the value of a flag that was given on the command line.
func fromFlag(fs *pflag.FlagSet, o option) error {
	name := prefix + o.key
	var err error
	switch t := o.target.(type) {
	case *string:
		*t, err = fs.GetString(name)
	case *bool:
		*t, err = fs.GetBool(name)
	case *uint64:
		*t, err = fs.GetUint64(name)
	case *int:
		*t, err = fs.GetInt(name)
	case *float64:
		*t, err = fs.GetFloat64(name)
	case *[]string:
		*t, err = fs.GetStringSlice(name)
	case *Interval:
		var d time.Duration
		d, err = fs.GetDuration(name)
		*t = Interval(d)
	case *time.Duration:
		*t, err = fs.GetDuration(name)
	}
	return err
}

// applyEnvironment imitates how ev-node lets the environment reach settings whose name has no dot: such a variable
// sets the flag of that name, and ends the command when the flag only exists with a prefix.
func applyEnvironment(fs *pflag.FlagSet) (err error) {
	fs.VisitAll(func(f *pflag.Flag) {
		key := strings.TrimPrefix(f.Name, prefix)
		if err != nil || f.Changed || strings.Contains(key, ".") || key == "home" || key == "help" {
			return
		}
		value := os.Getenv(strings.ToUpper(key))
		if value == "" {
			return
		}
		if e := fs.Set(key, value); e != nil {
			err = fmt.Errorf("bindFlags failed: %v", e)
		}
	})
	return err
}
