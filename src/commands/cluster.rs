//! Commands of cluster mode, which there is none of: they answer as those of a server that is not part of
//! a cluster, so that clients find out.

use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, Run, ServerState, Session,
    acl,
};

const ADMIN: Flags = Flags::ADMIN.or(Flags::STALE);
const CHANGES: Flags = ADMIN.or(Flags::NO_ASYNC_LOADING);
const TELLS: Flags = Flags::LOADING.or(Flags::STALE);
const DIFFERS: &str = "There is no cluster mode: answers that support of it is disabled.";

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::container("cluster", SUBCOMMANDS)
        .group(Group::Cluster)
        .since("3.0.0")
        .summary("Commands about the cluster."),
    single("asking", Flags::FAST).summary("Has the next call accepted while a slot moves."),
    single("readonly", TELLS.or(Flags::FAST)).summary("Allows reads from a replica."),
    single("readwrite", TELLS.or(Flags::FAST)).summary("Ends READONLY."),
];

const fn single(name: &'static str, flags: Flags) -> CommandSpec {
    sub(name, Arity::Exactly(1), "3.0.0", flags).acl(&[acl::Category::Connection])
}

const fn sub(name: &'static str, arity: Arity, since: &'static str, flags: Flags) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Session(disabled))
        .group(Group::Cluster)
        .since(since)
        .differs(DIFFERS)
        .flags(flags)
}

const SUBCOMMANDS: &[CommandSpec] = &[
    sub("addslots", Arity::AtLeast(3), "3.0.0", CHANGES)
        .summary("Assigns slots to this node.")
        .args(&[Arg::integer("slot").multiple()]),
    sub("addslotsrange", Arity::AtLeast(4), "7.0.0", CHANGES)
        .summary("Assigns ranges of slots to this node.")
        .args(&[
            Arg::block("range", &[Arg::integer("start-slot"), Arg::integer("end-slot")]).multiple()
        ]),
    sub("bumpepoch", Arity::Exactly(2), "3.0.0", CHANGES)
        .summary("Advances the epoch of the configuration."),
    sub("count-failure-reports", Arity::Exactly(3), "3.0.0", ADMIN)
        .summary("Counts the reports that a node has failed.")
        .args(&[Arg::string("node-id")]),
    sub("countkeysinslot", Arity::Exactly(3), "3.0.0", Flags::STALE)
        .summary("Counts the keys of a slot.")
        .args(&[Arg::integer("slot")]),
    sub("delslots", Arity::AtLeast(3), "3.0.0", CHANGES)
        .summary("Takes slots from this node.")
        .args(&[Arg::integer("slot").multiple()]),
    sub("delslotsrange", Arity::AtLeast(4), "7.0.0", CHANGES)
        .summary("Takes ranges of slots from this node.")
        .args(&[
            Arg::block("range", &[Arg::integer("start-slot"), Arg::integer("end-slot")]).multiple()
        ]),
    sub("failover", Arity::AtLeast(2), "3.0.0", CHANGES)
        .summary("Makes a replica the master.")
        .args(&[Arg::one_of(
            "options",
            &[Arg::token("force", "FORCE"), Arg::token("takeover", "TAKEOVER")],
        )
        .optional()]),
    sub("flushslots", Arity::Exactly(2), "3.0.0", CHANGES)
        .summary("Takes all slots from this node."),
    sub("forget", Arity::Exactly(3), "3.0.0", CHANGES)
        .summary("Removes a node.")
        .args(&[Arg::string("node-id")]),
    sub("getkeysinslot", Arity::Exactly(4), "3.0.0", Flags::STALE)
        .summary("Answers keys of a slot.")
        .args(&[Arg::integer("slot"), Arg::integer("count")]),
    sub("help", Arity::Exactly(2), "5.0.0", TELLS).summary("Answers this help."),
    sub("info", Arity::Exactly(2), "3.0.0", TELLS).summary("Tells about the cluster."),
    sub("keyslot", Arity::Exactly(3), "3.0.0", Flags::STALE)
        .summary("Answers the slot of a key.")
        .args(&[Arg::string("key")]),
    sub("links", Arity::Exactly(2), "7.0.0", Flags::STALE)
        .summary("Lists the links between nodes."),
    sub("meet", Arity::AtLeast(4), "3.0.0", CHANGES).summary("Has two nodes meet.").args(&[
        Arg::string("ip"),
        Arg::integer("port"),
        Arg::integer("cluster-bus-port").optional().since("4.0.0"),
    ]),
    sub("myid", Arity::Exactly(2), "3.0.0", TELLS).summary("Answers the name of this node."),
    sub("myshardid", Arity::Exactly(2), "7.2.0", TELLS).summary("Answers the shard of this node."),
    sub("nodes", Arity::Exactly(2), "3.0.0", TELLS).summary("Lists the nodes."),
    sub("replicas", Arity::Exactly(3), "5.0.0", ADMIN)
        .summary("Lists the replicas of a node.")
        .args(&[Arg::string("node-id")]),
    sub("replicate", Arity::Exactly(3), "3.0.0", CHANGES)
        .summary("Makes this node a replica.")
        .args(&[Arg::string("node-id")]),
    sub("reset", Arity::AtLeast(2), "3.0.0", ADMIN.or(Flags::NOSCRIPT))
        .summary("Resets this node.")
        .args(&[Arg::one_of(
            "reset-type",
            &[Arg::token("hard", "HARD"), Arg::token("soft", "SOFT")],
        )
        .optional()]),
    sub("saveconfig", Arity::Exactly(2), "3.0.0", CHANGES)
        .summary("Writes the configuration of the cluster."),
    sub("set-config-epoch", Arity::Exactly(3), "3.0.0", CHANGES)
        .summary("Sets the epoch of a new node.")
        .args(&[Arg::integer("config-epoch")]),
    sub("setslot", Arity::AtLeast(4), "3.0.0", CHANGES).summary("Binds a slot to a node.").args(&[
        Arg::integer("slot"),
        Arg::one_of(
            "subcommand",
            &[
                Arg::string("importing").with_token("IMPORTING"),
                Arg::string("migrating").with_token("MIGRATING"),
                Arg::string("node").with_token("NODE"),
                Arg::token("stable", "STABLE"),
            ],
        ),
    ]),
    sub("shards", Arity::Exactly(2), "7.0.0", TELLS).summary("Lists slots and nodes by shard."),
    sub("slaves", Arity::Exactly(3), "3.0.0", ADMIN)
        .summary("Lists the replicas of a node.")
        .deprecated("5.0.0", "`CLUSTER REPLICAS`")
        .args(&[Arg::string("node-id")]),
    sub("slots", Arity::Exactly(2), "3.0.0", TELLS)
        .summary("Lists slots and their nodes.")
        .deprecated("7.0.0", "`CLUSTER SHARDS`"),
];

fn disabled(_: &mut Session, _: &ServerState, _: &mut Args<'_>) -> CommandResult {
    Err(Error::Text("ERR This instance has cluster support disabled".to_owned()))
}
