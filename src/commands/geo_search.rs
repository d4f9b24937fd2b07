//! Searches for places on earth.

use std::ops::Bound;

use bytes::Bytes;

use super::geo::{UNITS, coordinates, distance, geo, parse_place, parse_unit};
use super::zset::{READ, zset};
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, KeySpec, Run};
use crate::data::{
    Edit, EventClasses, GeoPlace, GeoShape, Scored, SortedSet, Span, View, in_order, parse_double,
};
use crate::engine::Direction;
use crate::env::{Purpose, Room};
use crate::protocol::Reply;

const UNIT: Arg = Arg::one_of("unit", UNITS);
const FROM: Arg = Arg::one_of(
    "from",
    &[
        Arg::string("member").with_token("FROMMEMBER"),
        Arg::block("fromlonlat", &[Arg::double("longitude"), Arg::double("latitude")])
            .with_token("FROMLONLAT"),
    ],
);
const BY: Arg = Arg::one_of(
    "by",
    &[
        Arg::block("circle", &[Arg::double("radius").with_token("BYRADIUS"), UNIT]),
        Arg::block("box", &[Arg::double("width").with_token("BYBOX"), Arg::double("height"), UNIT]),
    ],
);
const ORDER: Arg =
    Arg::one_of("order", &[Arg::token("asc", "ASC"), Arg::token("desc", "DESC")]).optional();
const COUNT: Arg = Arg::block(
    "count-block",
    &[Arg::integer("count").with_token("COUNT"), Arg::token("any", "ANY").optional()],
)
.optional();
const COUNT_SINCE: Arg = Arg::block(
    "count-block",
    &[
        Arg::integer("count").with_token("COUNT"),
        Arg::token("any", "ANY").optional().since("6.2.0"),
    ],
)
.optional();
const WITH_COORD: Arg = Arg::token("withcoord", "WITHCOORD").optional();
const WITH_DIST: Arg = Arg::token("withdist", "WITHDIST").optional();
const WITH_HASH: Arg = Arg::token("withhash", "WITHHASH").optional();
const STORE: Arg = Arg::one_of(
    "store",
    &[
        Arg::key("storekey").display("key").key_spec(1).with_token("STORE"),
        Arg::key("storedistkey").display("key").key_spec(2).with_token("STOREDIST"),
    ],
)
.optional();
const COST: &str = "O(N+log(M)) for N members in the boxes around the shape and M members at all";
const GATHERED: &str = "The result is gathered in memory, at most what one command may hold.";

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    geo("geosearch", Arity::AtLeast(7), Run::Read(geosearch))
        .since("6.2.0")
        .complexity(COST)
        .summary("Answers the places within a circle or a box.")
        .args(&[Arg::key("key"), FROM, BY, ORDER, COUNT, WITH_COORD, WITH_DIST, WITH_HASH]),
    geo("geosearchstore", Arity::AtLeast(8), Run::Write(geosearchstore))
        .since("6.2.0")
        .complexity(COST)
        .summary("Stores the places within a circle or a box.")
        .differs(GATHERED)
        .flags(Flags::DENYOOM.or(Flags::STORES))
        .keys(&[KeySpec::one(1).ow().update(), KeySpec::one(2).ro().access()])
        .args(&[
            Arg::key("destination"),
            Arg::key("source").key_spec(1),
            FROM,
            BY,
            ORDER,
            COUNT,
            Arg::token("storedist", "STOREDIST").optional(),
        ]),
    geo("georadius", Arity::AtLeast(6), Run::Write(georadius))
        .complexity(COST)
        .summary("Answers or stores the places within a circle.")
        .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument")
        .differs(GATHERED)
        .flags(Flags::DENYOOM.or(Flags::STORES))
        .keys(&[
            KeySpec::one(1).ro().access(),
            KeySpec::keyword("STORE", 6, 0, 1, 0).ow().update(),
            KeySpec::keyword("STOREDIST", 6, 0, 1, 0).ow().update(),
        ])
        .last_key(|words| target_place(words, 6))
        .args(&[
            Arg::key("key"),
            Arg::double("longitude"),
            Arg::double("latitude"),
            Arg::double("radius"),
            UNIT,
            WITH_COORD,
            WITH_DIST,
            WITH_HASH,
            COUNT_SINCE,
            ORDER,
            STORE,
        ]),
    geo("georadius_ro", Arity::AtLeast(6), Run::Read(georadius_ro))
        .since("3.2.10")
        .complexity(COST)
        .summary("Answers the places within a circle.")
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument")
        .keys(READ)
        .args(&[
            Arg::key("key"),
            Arg::double("longitude"),
            Arg::double("latitude"),
            Arg::double("radius"),
            UNIT,
            WITH_COORD,
            WITH_DIST,
            WITH_HASH,
            COUNT_SINCE,
            ORDER,
        ]),
    geo("georadiusbymember", Arity::AtLeast(5), Run::Write(georadiusbymember))
        .complexity(COST)
        .summary("Answers or stores the places within a circle around a member.")
        .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with `BYRADIUS` and `FROMMEMBER`")
        .differs(GATHERED)
        .flags(Flags::DENYOOM.or(Flags::STORES))
        .keys(&[
            KeySpec::one(1).ro().access(),
            KeySpec::keyword("STORE", 5, 0, 1, 0).ow().update(),
            KeySpec::keyword("STOREDIST", 5, 0, 1, 0).ow().update(),
        ])
        .last_key(|words| target_place(words, 5))
        .args(&[
            Arg::key("key"),
            Arg::string("member"),
            Arg::double("radius"),
            UNIT,
            WITH_COORD,
            WITH_DIST,
            WITH_HASH,
            COUNT,
            ORDER,
            STORE,
        ]),
    geo("georadiusbymember_ro", Arity::AtLeast(5), Run::Read(georadiusbymember_ro))
        .since("3.2.10")
        .complexity(COST)
        .summary("Answers the places within a circle around a member.")
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments")
        .keys(READ)
        .args(&[
            Arg::key("key"),
            Arg::string("member"),
            Arg::double("radius"),
            UNIT,
            WITH_COORD,
            WITH_DIST,
            WITH_HASH,
            COUNT,
            ORDER,
        ]),
];

/// Where the target stands in a call of `GEORADIUS`: of several the last counts.
fn target_place(words: &[bytes::Bytes], options_at: usize) -> Option<usize> {
    let is_store = |word: &bytes::Bytes| {
        [&b"STORE"[..], b"STOREDIST"].iter().any(|w| word.eq_ignore_ascii_case(w))
    };
    let last = words.len().checked_sub(1)?;
    (options_at..last).rev().find(|at| is_store(&words[*at])).map(|at| at + 1)
}

/// Which of the commands is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Middle and shape among the options.
    Search,
    SearchStore,
    /// The middle in front, as longitude and latitude or as a member; may store.
    Radius {
        by_member: bool,
        stores: bool,
    },
}

/// What a call asks for.
#[derive(Debug, Default)]
struct Search<'a> {
    middle: Option<GeoPlace>,
    /// In meters.
    shape: Option<GeoShape>,
    unit_m: f64,
    from_member: bool,
    from_place: bool,
    with_distance: bool,
    with_hash: bool,
    with_coordinates: bool,
    /// The nearest first, or the farthest.
    order: Option<Direction>,
    count: Option<u64>,
    any: bool,
    target: Option<&'a Bytes>,
    stores_distance: bool,
}

/// A place that was found.
struct Found {
    member: Bytes,
    score: f64,
    place: GeoPlace,
    distance_m: f64,
}

fn text(text: &str) -> Error {
    Error::Text(format!("ERR {text}"))
}

fn not_negative(word: &[u8], what: &str) -> Result<f64, Error> {
    parse_double(word).ok_or_else(|| text(&format!("need numeric {what}")))
}

impl<'a> Search<'a> {
    /// Reads what stands behind the source; `zset` is there if that exists.
    fn parse(
        args: &mut Args<'a>,
        form: Form,
        zset: Option<SortedSet<'_>>,
        target: Option<&'a Bytes>,
    ) -> Result<Self, Error> {
        let mut search = Self { unit_m: 1.0, target, ..Self::default() };
        let name = args.all().first().cloned().unwrap_or_default();
        match form {
            Form::Radius { by_member: false, .. } => {
                search.middle = Some(parse_place(args)?);
                search.parse_circle(args)?;
            }
            Form::Radius { by_member: true, .. } => {
                let member = args.next_bytes()?;
                match zset {
                    Some(zset) => {
                        search.middle = Some(middle_of(zset, member)?);
                        search.parse_circle(args)?;
                    }
                    None => args.skip(2),
                }
            }
            Form::Search | Form::SearchStore => {}
        }
        while !args.is_empty() {
            if !(search.eat_common(args)?
                || search.eat_store(args, form)?
                || search.eat_shape(args, form, zset)?)
            {
                return Err(Error::Syntax);
            }
        }
        search.check(form, &String::from_utf8_lossy(&name))?;
        Ok(search)
    }

    fn eat_common(&mut self, args: &mut Args<'_>) -> Result<bool, Error> {
        if args.eat("WITHDIST") {
            self.with_distance = true;
        } else if args.eat("WITHHASH") {
            self.with_hash = true;
        } else if args.eat("WITHCOORD") {
            self.with_coordinates = true;
        } else if args.eat("ANY") {
            self.any = true;
        } else if args.eat("ASC") {
            self.order = Some(Direction::Forward);
        } else if args.eat("DESC") {
            self.order = Some(Direction::Reverse);
        } else if args.len() > 1 && args.eat("COUNT") {
            let count = u64::try_from(args.next_int()?).ok().filter(|count| *count > 0);
            self.count = Some(count.ok_or_else(|| text("COUNT must be > 0"))?);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn eat_store(&mut self, args: &mut Args<'a>, form: Form) -> Result<bool, Error> {
        match form {
            Form::Radius { stores: true, .. } if args.len() > 1 => {
                if args.eat("STORE") {
                    self.stores_distance = false;
                } else if args.eat("STOREDIST") {
                    self.stores_distance = true;
                } else {
                    return Ok(false);
                }
                self.target = Some(args.next_bytes()?);
                Ok(true)
            }
            Form::SearchStore if args.eat("STOREDIST") => {
                self.stores_distance = true;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn eat_shape(
        &mut self,
        args: &mut Args<'_>,
        form: Form,
        zset: Option<SortedSet<'_>>,
    ) -> Result<bool, Error> {
        if !matches!(form, Form::Search | Form::SearchStore) {
            return Ok(false);
        }
        let is_circle = matches!(self.shape, Some(GeoShape::Circle(_)));
        let is_box = matches!(self.shape, Some(GeoShape::Box(..)));
        if args.len() > 1 && !self.from_place && args.eat("FROMMEMBER") {
            let member = args.next_bytes()?;
            self.middle = zset.map(|zset| middle_of(zset, member)).transpose()?;
            self.from_member = true;
        } else if args.len() > 2 && !self.from_member && args.eat("FROMLONLAT") {
            self.middle = Some(parse_place(args)?);
            self.from_place = true;
        } else if args.len() > 2 && !is_box && args.eat("BYRADIUS") {
            self.parse_circle(args)?;
        } else if args.len() > 3 && !is_circle && args.eat("BYBOX") {
            let width = not_negative(args.next_bytes()?, "width")?;
            let height = not_negative(args.next_bytes()?, "height")?;
            if width < 0.0 || height < 0.0 {
                return Err(text("height or width cannot be negative"));
            }
            self.unit_m = parse_unit(args.next_bytes()?)?;
            self.shape = Some(GeoShape::Box(width * self.unit_m, height * self.unit_m));
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn parse_circle(&mut self, args: &mut Args<'_>) -> Result<(), Error> {
        let radius = not_negative(args.next_bytes()?, "radius")?;
        if radius < 0.0 {
            return Err(text("radius cannot be negative"));
        }
        self.unit_m = parse_unit(args.next_bytes()?)?;
        self.shape = Some(GeoShape::Circle(radius * self.unit_m));
        Ok(())
    }

    fn check(&self, form: Form, name: &str) -> Result<(), Error> {
        let has_options = self.with_distance || self.with_hash || self.with_coordinates;
        if self.target.is_some() && has_options {
            let what = match form {
                Form::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            return Err(text(&format!(
                "{what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        if matches!(form, Form::Search | Form::SearchStore) {
            if !self.from_member && !self.from_place {
                return Err(text(&format!(
                    "exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
                )));
            }
            if self.shape.is_none() {
                return Err(text(&format!(
                    "exactly one of BYRADIUS and BYBOX can be specified for {name}"
                )));
            }
        }
        if self.any && self.count.is_none() {
            return Err(text("the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// The places that are asked for, in the order that is asked for.
    fn run(&self, zset: SortedSet<'_>, room: &Room<'_>) -> Result<Vec<Found>, Error> {
        let (Some(middle), Some(shape)) = (self.middle, self.shape) else { return Ok(Vec::new()) };
        let enough = if self.any { self.count } else { None };
        let mut found: Vec<Found> = Vec::new();
        'ranges: for (from, to) in shape.ranges(middle) {
            let span = Span::of_scores(Bound::Included(from), Bound::Excluded(to));
            for member in zset.walk(&span, Direction::Forward)? {
                let (member, score) = member?;
                let place = GeoPlace::of_score(score);
                if let Some(distance_m) = shape.distance_m(middle, place) {
                    room.take(member.len() + size_of::<Found>())?;
                    found.push(Found { member, score, place, distance_m });
                }
                if enough == Some(found.len() as u64) {
                    break 'ranges;
                }
            }
        }
        let by_default = self.count.filter(|_| !self.any).map(|_| Direction::Forward);
        match self.order.or(by_default) {
            Some(Direction::Forward) => found.sort_by(|a, b| a.distance_m.total_cmp(&b.distance_m)),
            Some(Direction::Reverse) => found.sort_by(|a, b| b.distance_m.total_cmp(&a.distance_m)),
            None => {}
        }
        let count = self.count.and_then(|count| usize::try_from(count).ok());
        found.truncate(count.unwrap_or(usize::MAX));
        Ok(found)
    }

    fn reply(&self, found: Vec<Found>) -> Reply {
        let has_options = self.with_distance || self.with_hash || self.with_coordinates;
        let reply = |found: Found| {
            if !has_options {
                return Reply::Bulk(found.member);
            }
            let mut parts = vec![Reply::Bulk(found.member)];
            if self.with_distance {
                parts.push(distance(found.distance_m / self.unit_m));
            }
            if self.with_hash {
                #[expect(clippy::cast_possible_truncation, reason = "as Redis answers it")]
                parts.push(Reply::Integer(found.score as i64));
            }
            if self.with_coordinates {
                parts.push(coordinates(found.place));
            }
            Reply::Array(parts)
        };
        Reply::Array(found.into_iter().map(reply).collect())
    }

    fn scored(&self, found: Vec<Found>) -> Vec<Scored> {
        let score = |found: &Found| match self.stores_distance {
            true => found.distance_m / self.unit_m,
            false => found.score,
        };
        in_order(found.into_iter().map(|found| (found.member.clone(), score(&found))).collect())
    }
}

fn middle_of(zset: SortedSet<'_>, member: &[u8]) -> Result<GeoPlace, Error> {
    let score = zset.score(member)?;
    score.map(GeoPlace::of_score).ok_or_else(|| text("could not decode requested zset member"))
}

fn read(view: &View<'_>, args: &mut Args<'_>, form: Form) -> CommandResult {
    let key = args.next_bytes()?;
    let meta = zset(view.find(key)?)?;
    let zset = meta.as_ref().and_then(|meta| view.elements(key, meta)).map(SortedSet::new);
    let search = Search::parse(args, form, zset, None)?;
    let room = view.context().memory.room(Purpose::Working);
    let found = zset.map(|zset| search.run(zset, &room)).transpose()?;
    Ok(search.reply(found.unwrap_or_default()))
}

fn write(edit: &mut Edit<'_>, args: &mut Args<'_>, form: Form) -> CommandResult {
    let target = if form == Form::SearchStore { Some(args.next_bytes()?) } else { None };
    let meta = zset(edit.find_for_answer(args.next_bytes()?)?)?;
    let zset = meta.as_ref().and_then(|meta| edit.elements(meta)).map(SortedSet::new);
    let search = Search::parse(args, form, zset, target)?;
    let room = edit.context().memory.room(Purpose::Working);
    let found = zset.map(|zset| search.run(zset, &room)).transpose()?.unwrap_or_default();
    let Some(target) = search.target else { return Ok(search.reply(found)) };
    let members = search.scored(found);
    let old = edit.find(target)?;
    edit.store_zset(target, old.as_ref(), &members)?;
    // As in Redis, where other commands that store count one.
    edit.count_changes((members.len() as u64).saturating_sub(1));
    let name = if form == Form::SearchStore { "geosearchstore" } else { "georadiusstore" };
    edit.notify_stored(EventClasses::ZSET, name, target, members.is_empty());
    Ok(Reply::count(members.len()))
}

fn geosearch(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    read(view, args, Form::Search)
}

fn geosearchstore(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    write(edit, args, Form::SearchStore)
}

fn georadius(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    write(edit, args, Form::Radius { by_member: false, stores: true })
}

fn georadius_ro(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    read(view, args, Form::Radius { by_member: false, stores: false })
}

fn georadiusbymember(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    write(edit, args, Form::Radius { by_member: true, stores: true })
}

fn georadiusbymember_ro(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    read(view, args, Form::Radius { by_member: true, stores: false })
}
