//! The filters of `CLIENT KILL` and `CLIENT LIST`.

use std::sync::Arc;

use bytes::Bytes;

use crate::commands::{Arg, Args, Client, ClientFlag, Error, ServerState};
use crate::data::parse_int;

/// Arguments of `CLIENT KILL`.
pub(super) const KILL_ARGS: &[Arg] = &[Arg::one_of(
    "filter",
    &[
        Arg::string("old-format").display("ip:port").deprecated_since("2.8.12"),
        Arg::one_of(
            "new-format",
            &[
                Arg::integer("client-id").with_token("ID").optional().since("2.8.12"),
                Arg::one_of(
                    "client-type",
                    &[
                        Arg::token("normal", "normal"),
                        Arg::token("master", "master").since("3.2.0"),
                        Arg::token("slave", "slave"),
                        Arg::token("replica", "replica").since("5.0.0"),
                        Arg::token("pubsub", "pubsub"),
                    ],
                )
                .with_token("TYPE")
                .optional()
                .since("2.8.12"),
                Arg::string("username").with_token("USER").optional(),
                Arg::string("addr").display("ip:port").with_token("ADDR").optional(),
                Arg::string("laddr")
                    .display("ip:port")
                    .with_token("LADDR")
                    .optional()
                    .since("6.2.0"),
                Arg::one_of("skipme", &[Arg::token("yes", "YES"), Arg::token("no", "NO")])
                    .with_token("SKIPME")
                    .optional(),
                Arg::integer("maxage").with_token("MAXAGE").optional().since("7.4.0"),
            ],
        )
        .multiple(),
    ],
)];

/// Arguments of `CLIENT LIST`.
pub(super) const LIST_ARGS: &[Arg] = &[
    Arg::one_of(
        "client-type",
        &[
            Arg::token("normal", "normal"),
            Arg::token("master", "master"),
            Arg::token("replica", "replica"),
            Arg::token("pubsub", "pubsub"),
        ],
    )
    .with_token("TYPE")
    .optional()
    .since("5.0.0"),
    Arg::integer("client-id").with_token("ID").optional().multiple().since("6.2.0"),
];

/// What a client is used for; there is no replication, so there are no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    PubSub,
    Replication,
}

impl Kind {
    fn parse(word: &[u8]) -> Result<Self, Error> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Self::Normal),
            b"pubsub" => Ok(Self::PubSub),
            b"master" | b"slave" | b"replica" => Ok(Self::Replication),
            _ => Err(Error::quoting("ERR Unknown client type '{}'", &[word])),
        }
    }

    fn of(client: &Client) -> Self {
        if client.has(ClientFlag::PUBSUB) { Self::PubSub } else { Self::Normal }
    }
}

/// What `CLIENT KILL` is to close: all that match every part that was given.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    id: Option<u64>,
    kind: Option<Kind>,
    addr: Option<&'a Bytes>,
    laddr: Option<&'a Bytes>,
    user: Option<&'a Bytes>,
    max_age_s: Option<u64>,
    skip_me: bool,
}

impl<'a> Filter<'a> {
    /// Reads the form with filters.
    pub(super) fn parse(state: &ServerState, args: &mut Args<'a>) -> Result<Self, Error> {
        let mut filter = Self {
            id: None,
            kind: None,
            addr: None,
            laddr: None,
            user: None,
            max_age_s: None,
            skip_me: true,
        };
        while args.len() >= 2 {
            let text = |text: &str| Error::Text(format!("ERR {text}"));
            if args.eat("ID") {
                filter.id = Some(
                    parse_int(args.next_bytes()?)
                        .and_then(|id| u64::try_from(id).ok().filter(|id| *id > 0))
                        .ok_or_else(|| text("client-id should be greater than 0"))?,
                );
            } else if args.eat("MAXAGE") {
                let age = parse_int(args.next_bytes()?)
                    .ok_or_else(|| text("maxage is not an integer or out of range"))?;
                filter.max_age_s = Some(
                    u64::try_from(age)
                        .ok()
                        .filter(|age| *age > 0)
                        .ok_or_else(|| text("maxage should be greater than 0"))?,
                );
            } else if args.eat("TYPE") {
                filter.kind = Some(Kind::parse(args.next_bytes()?)?);
            } else if args.eat("ADDR") {
                filter.addr = Some(args.next_bytes()?);
            } else if args.eat("LADDR") {
                filter.laddr = Some(args.next_bytes()?);
            } else if args.eat("USER") {
                let user = args.next_bytes()?;
                if state.users.get(user).is_none() {
                    return Err(Error::quoting("ERR No such user '{}'", &[user]));
                }
                filter.user = Some(user);
            } else if args.eat("SKIPME") {
                filter.skip_me = args.eat("YES");
                if !filter.skip_me && !args.eat("NO") {
                    return Err(Error::Syntax);
                }
            } else {
                return Err(Error::Syntax);
            }
        }
        args.finish()?;
        Ok(filter)
    }

    /// Whether `client` is to be closed; `own_id` is the connection that asks.
    pub(super) fn matches(&self, client: &Client, own_id: u64, now_ms: u64) -> bool {
        let age_s = now_ms.saturating_sub(client.created_ms) / 1000;
        let is = |wanted: Option<&Bytes>, has: &str| wanted.is_none_or(|w| *w == has.as_bytes());
        self.id.is_none_or(|id| id == client.id)
            && self.kind.is_none_or(|kind| kind == Kind::of(client))
            && is(self.addr, &client.addr)
            && is(self.laddr, &client.laddr)
            && self.user.is_none_or(|user| client.is_user(user))
            && self.max_age_s.is_none_or(|max| age_s >= max)
            && !(self.skip_me && client.id == own_id)
    }
}

/// The clients that `CLIENT LIST` asks for.
pub(super) fn list(state: &ServerState, args: &mut Args<'_>) -> Result<Vec<Arc<Client>>, Error> {
    if args.len() == 2 && args.eat("TYPE") {
        let kind = Kind::parse(args.next_bytes()?)?;
        let mut clients = state.clients.all();
        clients.retain(|client| Kind::of(client) == kind);
        return Ok(clients);
    }
    if args.len() >= 2 && args.eat("ID") {
        let mut found = Vec::new();
        while !args.is_empty() {
            let id = parse_int(args.next_bytes()?)
                .ok_or_else(|| Error::Text("ERR Invalid client ID".to_owned()))?;
            found.extend(u64::try_from(id).ok().and_then(|id| state.clients.get(id)));
        }
        return Ok(found);
    }
    args.finish()?;
    Ok(state.clients.all())
}
