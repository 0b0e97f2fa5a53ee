// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package settings

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// Load combines defaults, file and flags of a command. A file that is absent, unreadable or not YAML counts as empty:
// that is how ev-node behaves, and a hazard worth keeping. Values of a wrong type are errors.
func Load(cmd *cobra.Command) (*Config, error) {
	c := Default()
	fs := cmd.Flags()
	home, _ := fs.GetString("home")
	if home == "" {
		home = DefaultHome("evnode")
	}
	home, err := filepath.Abs(home)
	if err != nil {
		return nil, fmt.Errorf("failed to resolve home directory: %w", err)
	}
	c.Home = home
	if err := applyEnvironment(fs); err != nil {
		return nil, err
	}
	err = c.merge(readFile(c.Path()), func(o option) bool { return o.flag && fs.Changed(prefix+o.key) })
	for _, o := range c.options() {
		if o.flag && fs.Changed(prefix+o.key) {
			if ferr := fromFlag(fs, o); ferr != nil {
				return nil, ferr
			}
		}
	}
	return c, err
}

func readFile(path string) map[string]any {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var tree map[string]any
	if yaml.Unmarshal(raw, &tree) != nil {
		return nil
	}
	return tree
}

// merge copies a parsed file into the configuration, except for options that are overridden.
func (c *Config) merge(tree map[string]any, overridden func(option) bool) error {
	var problems []string
	sections := map[string]bool{}
	for _, o := range c.options() {
		if overridden(o) {
			continue
		}
		value, bad := lookup(tree, strings.Split(o.key, "."), "")
		if bad != "" {
			if !sections[bad] {
				problems = append(problems, bad)
			}
			sections[bad] = true
			continue
		}
		if value == nil {
			continue
		}
		if err := assign(o.target, value); err != nil {
			problems = append(problems, fmt.Sprintf("'%s' %s", o.key, err))
		}
	}
	if problems == nil {
		return nil
	}
	sort.Strings(problems)
	return errors.Join(errors.New("reading "+FileName), fmt.Errorf(
		"failed decoding viper: decoding failed due to the following error(s):\n\n%s", strings.Join(problems, "\n")))
}

// lookup finds a key whatever its case; it reports a section that is not a mapping.
func lookup(tree map[string]any, path []string, above string) (value any, bad string) {
	for key, v := range tree {
		if !strings.EqualFold(key, path[0]) {
			continue
		}
		if len(path) == 1 {
			return v, ""
		}
		here := strings.TrimPrefix(above+"."+path[0], ".")
		switch sub := v.(type) {
		case nil:
			return nil, ""
		case map[string]any:
			return lookup(sub, path[1:], here)
		default:
			return nil, fmt.Sprintf("'%s' expected a map or struct, got %q", here, typeName(v))
		}
	}
	return nil, ""
}

func typeName(v any) string {
	switch v.(type) {
	case []any:
		return "slice"
	case map[string]any:
		return "map"
	}
	return fmt.Sprintf("%T", v)
}

// assign converts loosely: numbers may be written as strings and the other way round, as long as nothing is lost.
func assign(target, value any) error {
	mismatch := func(want string) error {
		return fmt.Errorf("expected type '%s', got unconvertible type '%s'", want, typeName(value))
	}
	switch t := target.(type) {
	case *string:
		switch v := value.(type) {
		case string:
			*t = v
		case bool:
			*t = "0"
			if v {
				*t = "1"
			}
		case int, int64, uint64, float64:
			*t = fmt.Sprint(v)
		default:
			return mismatch("string")
		}
	case *bool:
		switch v := value.(type) {
		case bool:
			*t = v
		case int:
			*t = v != 0
		case float64:
			*t = v != 0
		case string:
			if v == "" {
				*t = false
				return nil
			}
			b, err := strconv.ParseBool(v)
			if err != nil {
				return errors.New("cannot parse value as 'bool': strconv.ParseBool: invalid syntax")
			}
			*t = b
		default:
			return mismatch("bool")
		}
	case *uint64:
		switch v := value.(type) {
		case int:
			*t = uint64(v)
		case uint64:
			*t = v
		case float64:
			*t = uint64(v)
		case bool:
			*t = 0
			if v {
				*t = 1
			}
		case string:
			n, err := strconv.ParseUint(emptyIsZero(v), 0, 64)
			if err != nil {
				return errors.New("cannot parse value as 'uint64': strconv.ParseUint: invalid syntax")
			}
			*t = n
		default:
			return mismatch("uint64")
		}
	case *int:
		switch v := value.(type) {
		case int:
			*t = v
		case float64:
			*t = int(v)
		case bool:
			*t = 0
			if v {
				*t = 1
			}
		case string:
			n, err := strconv.ParseInt(emptyIsZero(v), 0, 64)
			if err != nil {
				return errors.New("cannot parse value as 'int': strconv.ParseInt: invalid syntax")
			}
			*t = int(n)
		default:
			return mismatch("int")
		}
	case *float64:
		switch v := value.(type) {
		case int:
			*t = float64(v)
		case float64:
			*t = v
		case string:
			n, err := strconv.ParseFloat(emptyIsZero(v), 64)
			if err != nil {
				return errors.New("cannot parse value as 'float64': strconv.ParseFloat: invalid syntax")
			}
			*t = n
		default:
			return mismatch("float64")
		}
	case *[]string:
		switch v := value.(type) {
		case string:
			*t = nil
			if v != "" {
				*t = strings.Split(v, ",")
			}
		case []any:
			*t = nil
			for _, item := range v {
				*t = append(*t, fmt.Sprint(item))
			}
		default:
			*t = []string{fmt.Sprint(v)}
		}
	case *Interval:
		v, ok := value.(string)
		if !ok {
			return fmt.Errorf("expected a map or struct, got %q", typeName(value))
		}
		d, err := time.ParseDuration(v)
		if err != nil {
			return err
		}
		*t = Interval(d)
	case *time.Duration:
		switch v := value.(type) {
		case string:
			d, err := time.ParseDuration(v)
			if err != nil {
				return errors.New("time: invalid duration")
			}
			*t = d
		case int:
			*t = time.Duration(v) // nanoseconds, however small that is
		case float64:
			*t = time.Duration(v)
		default:
			return mismatch("time.Duration")
		}
	}
	return nil
}

func emptyIsZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

// Save writes the file with every key, replacing what was there.
func (c *Config) Save() error {
	if err := os.MkdirAll(c.ConfigDir(), 0o750); err != nil {
		return fmt.Errorf("could not create directory %q: %w", c.ConfigDir(), err)
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, o := range c.options() {
		if !o.inFile {
			continue
		}
		path := strings.Split(o.key, ".")
		section := root
		for _, name := range path[:len(path)-1] {
			section = child(section, name)
		}
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: path[len(path)-1], HeadComment: o.help}
		value := &yaml.Node{}
		var plain any
		switch t := o.target.(type) {
		case *Interval:
			plain = t.String()
		case *time.Duration:
			plain = t.String()
		case *[]string:
			plain = append([]string{}, *t...)
		case *string:
			plain = *t
		case *bool:
			plain = *t
		case *uint64:
			plain = *t
		case *int:
			plain = *t
		case *float64:
			plain = *t
		}
		if err := value.Encode(plain); err != nil {
			return fmt.Errorf("error marshaling YAML data: %w", err)
		}
		section.Content = append(section.Content, key, value)
	}
	raw, err := yaml.Marshal(root)
	if err != nil {
		return fmt.Errorf("error marshaling YAML data: %w", err)
	}
	return os.WriteFile(c.Path(), raw, 0o600)
}

func child(section *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(section.Content); i += 2 {
		if section.Content[i].Value == name {
			return section.Content[i+1]
		}
	}
	sub := &yaml.Node{Kind: yaml.MappingNode}
	section.Content = append(section.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, sub)
	return sub
}
