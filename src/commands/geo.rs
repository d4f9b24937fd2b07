//! Commands on places on earth, which are members of sorted sets. Searches have a file of their own.

use bytes::Bytes;

use super::zset::{READ, with_zset};
use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, KeySpec, Run, zset,
};
use crate::data::{Edit, GeoPlace, View, parse_double};
use crate::protocol::Reply;

const KEY_MEMBERS: &[Arg] = &[Arg::key("key"), Arg::string("member").optional().multiple()];
pub(super) const UNITS: &[Arg] =
    &[Arg::token("m", "m"), Arg::token("km", "km"), Arg::token("ft", "ft"), Arg::token("mi", "mi")];

pub(super) const fn geo(name: &'static str, arity: Arity, run: Run) -> CommandSpec {
    CommandSpec::new(name, arity, run).group(Group::Geo).since("3.2.0").keys(READ)
}

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    geo("geoadd", Arity::AtLeast(5), Run::Write(geoadd))
        .complexity("O(log(N)) for each member")
        .summary("Adds places to a sorted set or moves them; makes the set if needed.")
        .flags(Flags::DENYOOM)
        .keys(&[KeySpec::one(1).rw().update()])
        .args(&[
            Arg::key("key"),
            Arg::one_of("condition", &[Arg::token("nx", "NX"), Arg::token("xx", "XX")])
                .optional()
                .since("6.2.0"),
            Arg::token("change", "CH").optional().since("6.2.0"),
            Arg::block(
                "data",
                &[Arg::double("longitude"), Arg::double("latitude"), Arg::string("member")],
            )
            .multiple(),
        ]),
    geo("geodist", Arity::AtLeast(4), Run::Read(geodist))
        .summary("Answers how far two members are from each other.")
        .args(&[
            Arg::key("key"),
            Arg::string("member1"),
            Arg::string("member2"),
            Arg::one_of("unit", UNITS).optional(),
        ]),
    geo("geohash", Arity::AtLeast(2), Run::Read(geohash))
        .complexity("O(N) in the number of members asked for")
        .summary("Answers the geohashes of members as usual texts.")
        .args(KEY_MEMBERS),
    geo("geopos", Arity::AtLeast(2), Run::Read(geopos))
        .complexity("O(N) in the number of members asked for")
        .summary("Answers longitudes and latitudes of members.")
        .args(KEY_MEMBERS),
];

/// Reads longitude and latitude.
pub(super) fn parse_place(args: &mut Args<'_>) -> Result<GeoPlace, Error> {
    let longitude = parse_double(args.next_bytes()?).ok_or(Error::NotAFloat)?;
    let latitude = parse_double(args.next_bytes()?).ok_or(Error::NotAFloat)?;
    let place = GeoPlace { longitude, latitude };
    if !place.is_valid() {
        let text = format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}");
        return Err(Error::Text(text));
    }
    Ok(place)
}

/// Meters of a unit.
pub(super) fn parse_unit(word: &[u8]) -> Result<f64, Error> {
    for (name, meters) in [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)] {
        if word.eq_ignore_ascii_case(name.as_bytes()) {
            return Ok(meters);
        }
    }
    Err(Error::Text("ERR unsupported unit provided. please use M, KM, FT, MI".to_owned()))
}

/// A distance as text, with four decimals.
pub(super) fn distance(distance: f64) -> Reply {
    const TEN_THOUSANDTHS_MAX: f64 = 9e18;

    let scaled = (distance * 10_000.0).round_ties_even();
    if scaled > TEN_THOUSANDTHS_MAX {
        return Reply::from(format!("{distance:.4}"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and below two to the power of 63"
    )]
    let scaled = scaled as u64;
    Reply::from(format!("{}.{:04}", scaled / 10_000, scaled % 10_000))
}

/// Longitude and latitude as most commands answer them.
pub(super) fn coordinates(place: GeoPlace) -> Reply {
    Reply::Array(vec![Reply::PlainDouble(place.longitude), Reply::PlainDouble(place.latitude)])
}

/// As `ZADD` with the scores of the places.
fn geoadd(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let mut words = vec![Bytes::from_static(b"zadd"), key.clone()];
    let (mut nx, mut xx) = (false, false);
    loop {
        let word = args.peek().cloned();
        if args.eat("NX") {
            nx = true;
        } else if args.eat("XX") {
            xx = true;
        } else if !args.eat("CH") {
            break;
        }
        words.extend(word);
    }
    if !args.len().is_multiple_of(3) || nx && xx {
        return Err(Error::Syntax);
    }
    while !args.is_empty() {
        let place = parse_place(args)?;
        words.push(Bytes::from(place.score().to_string()));
        words.push(args.next_bytes()?.clone());
    }
    zset::zadd(edit, &mut Args::new(&words, 1))
}

fn geodist(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, from, to) = (args.next_bytes()?, args.next_bytes()?, args.next_bytes()?);
    let unit_m = match args.peek() {
        None => 1.0,
        Some(unit) if args.len() == 1 => parse_unit(unit)?,
        Some(_) => return Err(Error::Syntax),
    };
    let ends = with_zset(view, key, |zset| Ok((zset.score(from)?, zset.score(to)?)))?;
    let Some((Some(from), Some(to))) = ends else { return Ok(Reply::Null) };
    Ok(distance(GeoPlace::of_score(from).distance_m(GeoPlace::of_score(to)) / unit_m))
}

fn geohash(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    each(view, args, Reply::Null, |place| Reply::from(place.geohash()))
}

fn geopos(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    each(view, args, Reply::NullArray, coordinates)
}

/// What `form` makes of the place of each member; `none` for one that is not there.
fn each(
    view: &View<'_>,
    args: &mut Args<'_>,
    none: Reply,
    form: impl Fn(GeoPlace) -> Reply,
) -> CommandResult {
    let key = args.next_bytes()?;
    let members = args.rest();
    let found = with_zset(view, key, |zset| {
        let reply = |member: &Bytes| {
            let score = zset.score(member)?;
            Ok(score.map_or_else(|| none.clone(), |score| form(GeoPlace::of_score(score))))
        };
        members.iter().map(reply).collect::<Result<Vec<_>, Error>>()
    })?;
    Ok(Reply::Array(found.unwrap_or_else(|| vec![none; members.len()])))
}
