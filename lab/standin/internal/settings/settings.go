// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package settings holds the node's configuration: every key with its default, the command-line flags, the
// evnode.yaml file, and the rules by which the three are combined.
package settings

import (
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// FileName is the configuration file below <home>/config.
const FileName = "evnode.yaml"

// FlagPassphraseFile names the only way to hand over the signer's passphrase; it has no key in the file.
const FlagPassphraseFile = "evnode.signer.passphrase_file"

// Interval is a duration that the file may only express as a string.
type Interval time.Duration

// D returns the plain duration.
func (i Interval) D() time.Duration { return time.Duration(i) }

func (i Interval) String() string { return time.Duration(i).String() }

// Config is the effective configuration of one process.
type Config struct {
	Home       string
	DBPath     string
	ClearCache bool

	P2P struct {
		ListenAddress, Peers, BlockedPeers, AllowedPeers string
		DisableConnectionGater                           bool
	}
	Node struct {
		Aggregator, Promotable, BasedSequencer, Light, LazyMode      bool
		BlockTime, LazyBlockInterval, ScrapeInterval, CatchupTimeout Interval
		MaxPending, ReadinessWindowSeconds, ReadinessMaxBlocksBehind uint64
	}
	DA struct {
		StartHeight                                        uint64
		Address, AuthToken, SubmitOptions                  string
		SigningAddresses                                   []string
		Namespace, DataNamespace, ForcedInclusionNamespace string
		BlockTime, RequestTimeout, BatchMaxDelay           Interval
		MempoolTTL, BatchMinItems                          uint64
		MaxSubmitAttempts                                  int
		BatchingStrategy                                   string
		BatchSizeThreshold                                 float64
	}
	RPC struct {
		Address               string
		EnableDAVisualization bool
	}
	Instrumentation struct {
		Prometheus, Pprof, Tracing                                                            bool
		PrometheusListenAddr, Namespace, PprofListenAddr, TracingEndpoint, TracingServiceName string
		MaxOpenConnections                                                                    int
		TracingSampleRate                                                                     float64
	}
	Log struct {
		Level, Format string
		Trace         bool
	}
	Signer struct {
		Type, Path, KMSProvider                                  string
		AWSKeyID, AWSRegion, AWSProfile, GCPKeyName, GCPCredFile string
		AWSTimeout, GCPTimeout                                   Interval
		AWSMaxRetries, GCPMaxRetries                             int
	}
	Raft struct {
		Enable, Bootstrap                                                  bool
		NodeID, Addr, Dir, Peers                                           string
		SnapCount, SnapshotThreshold, TrailingLogs                         uint64
		SendTimeout, HeartbeatTimeout, LeaderLeaseTimeout, ElectionTimeout time.Duration
	}
	Pruning struct {
		Mode       string
		KeepRecent uint64
		Interval   Interval
	}
}

// DefaultHome is the home directory of an application below the user's own.
func DefaultHome(app string) string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, "."+app)
}

// Default returns the configuration of a node that was given nothing. The DA namespace is random, so two processes
// that were given none do not share one.
func Default() *Config {
	c := &Config{DBPath: "data"}
	c.P2P.ListenAddress = "/ip4/0.0.0.0/tcp/7676"
	c.P2P.DisableConnectionGater = true
	c.Node.BlockTime = Interval(time.Second)
	c.Node.LazyBlockInterval = Interval(time.Minute)
	c.Node.ScrapeInterval = Interval(time.Second)
	c.Node.ReadinessWindowSeconds = 15
	c.Node.ReadinessMaxBlocksBehind = 15
	c.DA.Namespace = randomNamespace(time.Now().Unix())
	c.DA.BlockTime = Interval(6 * time.Second)
	c.DA.MaxSubmitAttempts = 30
	c.DA.RequestTimeout = Interval(time.Minute)
	c.DA.BatchingStrategy = "time"
	c.DA.BatchSizeThreshold = 0.8
	c.DA.BatchMinItems = 1
	c.RPC.Address = "127.0.0.1:7331"
	c.Instrumentation.PrometheusListenAddr = ":26660"
	c.Instrumentation.MaxOpenConnections = 3
	c.Instrumentation.Namespace = "evnode"
	c.Instrumentation.PprofListenAddr = ":6060"
	c.Instrumentation.TracingEndpoint = "localhost:4318"
	c.Instrumentation.TracingServiceName = "ev-node"
	c.Instrumentation.TracingSampleRate = 0.1
	c.Log.Level, c.Log.Format = "info", "text"
	c.Signer.Type, c.Signer.Path = "file", "config"
	c.Signer.AWSTimeout, c.Signer.GCPTimeout = Interval(10*time.Second), Interval(10*time.Second)
	c.Signer.AWSMaxRetries, c.Signer.GCPMaxRetries = 3, 3
	c.Raft.Dir = filepath.Join(DefaultHome("evnode"), "raft")
	c.Raft.SnapCount, c.Raft.SnapshotThreshold, c.Raft.TrailingLogs = 3, 500, 200
	c.Raft.SendTimeout, c.Raft.HeartbeatTimeout = 200*time.Millisecond, 350*time.Millisecond
	c.Raft.LeaderLeaseTimeout, c.Raft.ElectionTimeout = 175*time.Millisecond, time.Second
	c.Pruning.Mode, c.Pruning.KeepRecent, c.Pruning.Interval = "disabled", 100_000, Interval(15*time.Minute)
	return c
}

func randomNamespace(seed int64) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	rng := rand.New(rand.NewSource(seed))
	var b strings.Builder
	for range 10 {
		b.WriteByte(letters[rng.Intn(len(letters))])
	}
	return b.String()
}

// ConfigDir is <home>/config.
func (c *Config) ConfigDir() string { return filepath.Join(c.Home, "config") }

// Path is the configuration file.
func (c *Config) Path() string { return filepath.Join(c.ConfigDir(), FileName) }

// DataDir is the directory of all databases.
func (c *Config) DataDir() string {
	if filepath.IsAbs(c.DBPath) {
		return c.DBPath
	}
	return filepath.Join(c.Home, c.DBPath)
}

// DAAddress is the address of the DA layer without surrounding blanks.
func (c *Config) DAAddress() string { return strings.TrimSpace(c.DA.Address) }

// DataNamespace is the namespace of block data: the header namespace unless set.
func (c *Config) DataNamespace() string {
	if c.DA.DataNamespace != "" {
		return c.DA.DataNamespace
	}
	return c.DA.Namespace
}

// option ties a key to the place that holds its value.
type option struct {
	key     string
	target  any
	help    string
	flag    bool // has a command-line flag evnode.<key>
	inFile  bool // is written by Save
	persist bool // the flag belongs to the root command
}

func (c *Config) options() []option {
	o := func(key string, target any, help string) option {
		return option{key: key, target: target, help: help, flag: true, inFile: true}
	}
	fileOnly := func(key string, target any, help string) option {
		return option{key: key, target: target, help: help, inFile: true}
	}
	flagOnly := func(key string, target any, help string) option {
		return option{key: key, target: target, help: help, flag: true}
	}
	global := func(key string, target any, help string) option {
		return option{key: key, target: target, help: help, flag: true, inFile: true, persist: true}
	}
	n, d, i, s, r := &c.Node, &c.DA, &c.Instrumentation, &c.Signer, &c.Raft
	return []option{
		o("db_path", &c.DBPath, "directory of the databases, inside the home directory unless absolute"),
		flagOnly("clear_cache", &c.ClearCache, "forget cached data at start"),
		o("p2p.listen_address", &c.P2P.ListenAddress, "multiaddress to listen on for peers"),
		o("p2p.peers", &c.P2P.Peers, "peers to connect to, separated by commas"),
		o("p2p.blocked_peers", &c.P2P.BlockedPeers, "peers that may not connect, separated by commas"),
		o("p2p.allowed_peers", &c.P2P.AllowedPeers, "peers that may connect, separated by commas"),
		o("p2p.disable_connection_gater", &c.P2P.DisableConnectionGater, "let every peer connect"),
		o("node.aggregator", &n.Aggregator, "produce blocks"),
		o("node.promotable", &n.Promotable, "full node that may become the proposer"),
		o("node.based_sequencer", &n.BasedSequencer, "take transactions from the DA layer only"),
		o("node.light", &n.Light, "follow headers only"),
		o("node.block_time", &n.BlockTime, "time between two blocks"),
		o("node.max_pending_headers_and_data", &n.MaxPending, "blocks that may wait for the DA layer, 0 for no limit"),
		o("node.lazy_mode", &n.LazyMode, "make blocks only when there are transactions or the lazy interval is over"),
		o("node.lazy_block_interval", &n.LazyBlockInterval, "longest time between two blocks in lazy mode"),
		o("node.scrape_interval", &n.ScrapeInterval, "how often the application is asked for new transactions"),
		o("node.catchup_timeout", &n.CatchupTimeout, "catch up from peers before producing, at most this long"),
		o("node.readiness_window_seconds", &n.ReadinessWindowSeconds, "a ready follower has a block younger than this"),
		o("node.readiness_max_blocks_behind", &n.ReadinessMaxBlocksBehind, "blocks a ready node may be behind"),
		flagOnly("da.start_height", &d.StartHeight, "DA height to start reading at"),
		o("da.address", &d.Address, "address of the DA layer"),
		o("da.auth_token", &d.AuthToken, "token for the DA layer"),
		o("da.submit_options", &d.SubmitOptions, "options handed to the DA layer with each submission"),
		o("da.signing_addresses", &d.SigningAddresses, "addresses used in turn for submissions"),
		o("da.namespace", &d.Namespace, "namespace of headers, and of data unless data_namespace is set"),
		o("da.data_namespace", &d.DataNamespace, "namespace of data"),
		o("da.forced_inclusion_namespace", &d.ForcedInclusionNamespace, "namespace of forced transactions"),
		o("da.block_time", &d.BlockTime, "block time of the DA layer"),
		o("da.mempool_ttl", &d.MempoolTTL, "DA blocks after which a submission is given up"),
		o("da.max_submit_attempts", &d.MaxSubmitAttempts, "attempts of one submission"),
		o("da.request_timeout", &d.RequestTimeout, "limit of one request to the DA layer"),
		o("da.batching_strategy", &d.BatchingStrategy, "immediate, size, time or adaptive"),
		o("da.batch_size_threshold", &d.BatchSizeThreshold, "share of the largest blob that triggers a submission"),
		o("da.batch_max_delay", &d.BatchMaxDelay, "longest wait before a submission, 0 for the DA block time"),
		o("da.batch_min_items", &d.BatchMinItems, "fewest items of a submission"),
		o("rpc.address", &c.RPC.Address, "host:port of the RPC server"),
		o("rpc.enable_da_visualization", &c.RPC.EnableDAVisualization, "serve the DA pages"),
		o("instrumentation.prometheus", &i.Prometheus, "serve metrics"),
		o("instrumentation.prometheus_listen_addr", &i.PrometheusListenAddr, "address of the metrics server"),
		o("instrumentation.max_open_connections", &i.MaxOpenConnections, "connections to the metrics server"),
		fileOnly("instrumentation.namespace", &i.Namespace, "prefix of all metrics"),
		o("instrumentation.pprof", &i.Pprof, "serve profiles"),
		o("instrumentation.pprof_listen_addr", &i.PprofListenAddr, "address of the profile server"),
		o("instrumentation.tracing", &i.Tracing, "export traces"),
		o("instrumentation.tracing_endpoint", &i.TracingEndpoint, "where traces go"),
		o("instrumentation.tracing_service_name", &i.TracingServiceName, "service name in traces"),
		o("instrumentation.tracing_sample_rate", &i.TracingSampleRate, "share of traces that is kept"),
		global("log.level", &c.Log.Level, "debug, info, warn or error"),
		global("log.format", &c.Log.Format, "text or json"),
		global("log.trace", &c.Log.Trace, "stack traces with errors"),
		o("signer.signer_type", &s.Type, "file or kms"),
		o("signer.signer_path", &s.Path, "directory of signer.json; a relative one starts at the working directory"),
		o("signer.kms.provider", &s.KMSProvider, "aws or gcp"),
		o("signer.kms.aws.key_id", &s.AWSKeyID, "key id or ARN"),
		o("signer.kms.aws.region", &s.AWSRegion, "region"),
		o("signer.kms.aws.profile", &s.AWSProfile, "profile"),
		o("signer.kms.aws.timeout", &s.AWSTimeout, "limit of one request"),
		o("signer.kms.aws.max_retries", &s.AWSMaxRetries, "retries of one request"),
		o("signer.kms.gcp.key_name", &s.GCPKeyName, "resource name of the key version"),
		o("signer.kms.gcp.credentials_file", &s.GCPCredFile, "credentials file"),
		o("signer.kms.gcp.timeout", &s.GCPTimeout, "limit of one request"),
		o("signer.kms.gcp.max_retries", &s.GCPMaxRetries, "retries of one request"),
		o("raft.enable", &r.Enable, "elect the block producer among several nodes"),
		o("raft.node_id", &r.NodeID, "name of this node among the members"),
		o("raft.raft_addr", &r.Addr, "host:port of this node for the other members"),
		o("raft.raft_dir", &r.Dir, "directory of the Raft log and snapshots"),
		o("raft.bootstrap", &r.Bootstrap, "kept for old files; has no effect"),
		o("raft.peers", &r.Peers, "the other members as id@host:port, separated by commas"),
		o("raft.snap_count", &r.SnapCount, "snapshots that are kept"),
		o("raft.send_timeout", &r.SendTimeout, "limit of handing a message to Raft"),
		o("raft.heartbeat_timeout", &r.HeartbeatTimeout, "silence of the leader after which an election starts"),
		o("raft.leader_lease_timeout", &r.LeaderLeaseTimeout, "silence of the followers after which a leader resigns"),
		o("raft.election_timeout", &r.ElectionTimeout, "limit of one election"),
		o("raft.snapshot_threshold", &r.SnapshotThreshold, "log entries after which a snapshot is made"),
		o("raft.trailing_logs", &r.TrailingLogs, "log entries that are kept behind a snapshot"),
		o("pruning.pruning_mode", &c.Pruning.Mode, "disabled, all or metadata"),
		o("pruning.pruning_keep_recent", &c.Pruning.KeepRecent, "blocks that are kept"),
		o("pruning.pruning_interval", &c.Pruning.Interval, "time between two rounds of pruning"),
	}
}
