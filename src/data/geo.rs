//! Places on earth as scores: a geohash of 52 bits, in which places that are near each other are
//! often near; the same computation as Redis's, bit by bit.
//!
//! Longitude and latitude are halved 26 times each; the bits of the latitude stand at even places, those
//! of the longitude at odd ones. A search takes the box of the hash around the middle that is large
//! enough, and its eight neighbours: nine ranges of scores at most.

/// Radius of the earth in meters, as Redis has it.
const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
/// Half of the circumference, in meters of the projection.
const MERCATOR_MAX: f64 = 20_037_726.37;
/// Bits of the hash for each of the two.
const STEPS_MAX: u32 = 26;
/// Longitudes are between this and its negative.
const LONGITUDE_MAX: f64 = 180.0;
/// Latitudes are between this and its negative: what the projection can show.
const LATITUDE_MAX: f64 = 85.051_128_78;

const EVEN: u64 = 0x5555_5555_5555_5555;
const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;

/// A place, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// East is positive.
    pub longitude: f64,
    /// North is positive.
    pub latitude: f64,
}

/// What lies within a search, in meters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// Up to this distance.
    Circle(f64),
    /// In a box of this width and height around the middle.
    Box(f64, f64),
}

/// A box of the hash: its bits, and how many there are for each of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    bits: u64,
    steps: u32,
}

/// What a cell covers: from and to, in degrees.
#[derive(Debug, Clone, Copy)]
struct Area {
    longitude: (f64, f64),
    latitude: (f64, f64),
}

impl Place {
    /// Whether a score can stand for it.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.longitude.abs() <= LONGITUDE_MAX && self.latitude.abs() <= LATITUDE_MAX
    }

    /// The score that stands for it.
    #[must_use]
    pub fn score(self) -> f64 {
        as_score(Cell::of(self, STEPS_MAX, LATITUDE_MAX).bits)
    }

    /// The middle of what a score stands for.
    #[must_use]
    pub fn of_score(score: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whatever the score is, some place is answered, the one that Redis answers"
        )]
        let bits = match score {
            ..0.0 => (score as i64).cast_unsigned(),
            // Beyond 64 bits.
            18_446_744_073_709_551_616.0.. => 0,
            _ => score as u64,
        };
        let area = Cell { bits, steps: STEPS_MAX }.area();
        let middle = |(from, to): (f64, f64), max: f64| f64::midpoint(from, to).clamp(-max, max);
        Self {
            longitude: middle(area.longitude, LONGITUDE_MAX),
            latitude: middle(area.latitude, LATITUDE_MAX),
        }
    }

    /// The usual text of a geohash, eleven characters.
    #[must_use]
    pub fn geohash(self) -> String {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Cell::of(self, STEPS_MAX, 90.0).bits;
        (1..=11_u32)
            .map(|at| {
                // There are no more than 52 bits.
                let index = if at == 11 { 0 } else { (bits >> (52 - at * 5)) & 0x1f };
                char::from(ALPHABET[usize::try_from(index).unwrap_or(0)])
            })
            .collect()
    }

    /// Meters to another place, along the surface of a sphere.
    #[must_use]
    pub fn distance_m(self, other: Self) -> f64 {
        let v =
            ((other.longitude.to_radians_as_c() - self.longitude.to_radians_as_c()) / 2.0).sin();
        if v == 0.0 {
            return self.latitude_distance_m(other);
        }
        let (from, to) = (self.latitude.to_radians_as_c(), other.latitude.to_radians_as_c());
        let u = ((to - from) / 2.0).sin();
        let a = u * u + from.cos() * to.cos() * v * v;
        2.0 * EARTH_RADIUS_M * a.sqrt().asin()
    }

    fn latitude_distance_m(self, other: Self) -> f64 {
        let (from, to) = (self.latitude.to_radians_as_c(), other.latitude.to_radians_as_c());
        EARTH_RADIUS_M * (to - from).abs()
    }
}

/// The very multiplication that Redis makes, so that distances are equal in all digits.
trait Degrees {
    fn to_radians_as_c(self) -> f64;
}

impl Degrees for f64 {
    fn to_radians_as_c(self) -> f64 {
        self * (std::f64::consts::PI / 180.0)
    }
}

fn degrees(radians: f64) -> f64 {
    radians / (std::f64::consts::PI / 180.0)
}

#[expect(clippy::cast_precision_loss, reason = "52 bits fit")]
fn as_score(bits: u64) -> f64 {
    bits as f64
}

impl Shape {
    /// Meters from the middle to a place, if that is within the shape.
    #[must_use]
    pub fn distance_m(self, middle: Place, place: Place) -> Option<f64> {
        match self {
            Self::Circle(radius) => Some(middle.distance_m(place)).filter(|m| *m <= radius),
            Self::Box(width, height) => {
                if place.latitude_distance_m(middle) > height / 2.0 {
                    return None;
                }
                let beside = Place { longitude: middle.longitude, latitude: place.latitude };
                if place.distance_m(beside) > width / 2.0 {
                    return None;
                }
                Some(middle.distance_m(place))
            }
        }
    }

    /// Ranges of scores, their end not included, that hold all places within the shape, and others. In
    /// the order in which Redis searches them.
    #[must_use]
    pub fn ranges(self, middle: Place) -> Vec<(f64, f64)> {
        let bounds = self.bounds(middle);
        let radius = match self {
            Self::Circle(radius) => radius,
            Self::Box(width, height) => ((width / 2.0).powi(2) + (height / 2.0).powi(2)).sqrt(),
        };
        let mut steps = steps_for(radius, middle.latitude);
        let mut cell = Cell::of(middle, steps, LATITUDE_MAX);
        if steps > 1 && !cell.neighbours_cover(&bounds) {
            steps -= 1;
            cell = Cell::of(middle, steps, LATITUDE_MAX);
        }
        let area = cell.area();
        // Neighbours that nothing of the shape reaches.
        let is_useless = |east: i64, north: i64| {
            steps >= 2
                && (north < 0 && area.latitude.0 < bounds.latitude.0
                    || north > 0 && area.latitude.1 > bounds.latitude.1
                    || east < 0 && area.longitude.0 < bounds.longitude.0
                    || east > 0 && area.longitude.1 > bounds.longitude.1)
        };
        let mut cells: Vec<Cell> = Vec::new();
        for (east, north) in
            [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)]
        {
            let next = cell.moved(east, north);
            // With few steps neighbours may be the same.
            if !is_useless(east, north) && cells.last() != Some(&next) {
                cells.push(next);
            }
        }
        cells.into_iter().map(Cell::range).collect()
    }

    /// The smallest box of degrees around the shape.
    fn bounds(self, middle: Place) -> Area {
        let (width, height) = match self {
            Self::Circle(radius) => (radius, radius),
            Self::Box(width, height) => (width / 2.0, height / 2.0),
        };
        let north = degrees(height / EARTH_RADIUS_M);
        // The side that is nearer to a pole reaches over more degrees.
        let side =
            if middle.latitude < 0.0 { middle.latitude - north } else { middle.latitude + north };
        let east = degrees(width / EARTH_RADIUS_M / side.to_radians_as_c().cos());
        Area {
            longitude: (middle.longitude - east, middle.longitude + east),
            latitude: (middle.latitude - north, middle.latitude + north),
        }
    }
}

/// How often the earth is halved so that a box and its neighbours hold a circle.
fn steps_for(radius: f64, latitude: f64) -> u32 {
    if radius == 0.0 {
        return STEPS_MAX;
    }
    let (mut range, mut steps) = (radius, 1_i32);
    while range < MERCATOR_MAX {
        range *= 2.0;
        steps += 1;
    }
    steps -= 2;
    // Boxes are narrower towards the poles.
    steps -= i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    steps.clamp(1, 26).unsigned_abs()
}

impl Cell {
    fn of(place: Place, steps: u32, latitude_max: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "below two to the power of the steps"
        )]
        let place_of = |degrees: f64, max: f64| {
            let share = (degrees - -max) / (max - -max);
            (share * as_score(1 << steps)) as u32
        };
        let latitude = place_of(place.latitude, latitude_max);
        let longitude = place_of(place.longitude, LONGITUDE_MAX);
        Self { bits: spread(latitude) | spread(longitude) << 1, steps }
    }

    fn area(self) -> Area {
        let range = |number: u32, max: f64| {
            let at = |number: f64| -max + (number / as_score(1 << self.steps)) * (max - -max);
            (at(f64::from(number)), at(f64::from(number) + 1.0))
        };
        Area {
            longitude: range(gather(self.bits >> 1), LONGITUDE_MAX),
            latitude: range(gather(self.bits), LATITUDE_MAX),
        }
    }

    /// The cell so many to the east and to the north, each of them -1, 0 or 1.
    fn moved(self, east: i64, north: i64) -> Self {
        let all = u64::MAX >> (64 - self.steps * 2);
        let step = |part: u64, mask: u64, by: i64| {
            let others = !mask & all;
            match by {
                0 => part,
                1.. => part.wrapping_add(others + 1) & mask & all,
                _ => (part | others).wrapping_sub(others + 1) & mask & all,
            }
        };
        let longitude = step(self.bits & ODD, ODD, east);
        let latitude = step(self.bits & EVEN, EVEN, north);
        Self { bits: longitude | latitude, ..self }
    }

    /// Whether the cells on all sides reach as far as `bounds`.
    fn neighbours_cover(self, bounds: &Area) -> bool {
        self.moved(0, 1).area().latitude.1 >= bounds.latitude.1
            && self.moved(0, -1).area().latitude.0 <= bounds.latitude.0
            && self.moved(1, 0).area().longitude.1 >= bounds.longitude.1
            && self.moved(-1, 0).area().longitude.0 <= bounds.longitude.0
    }

    /// Scores of the places in it.
    fn range(self) -> (f64, f64) {
        let shift = 52 - self.steps * 2;
        (as_score(self.bits << shift), as_score((self.bits + 1) << shift))
    }
}

/// The bits of a number at even places.
fn spread(number: u32) -> u64 {
    (0..32).fold(0, |bits, at| bits | (u64::from(number) >> at & 1) << (2 * at))
}

/// The number whose bits are at even places.
fn gather(bits: u64) -> u32 {
    (0..32).fold(0, |number, at| number | u32::from(bits >> (2 * at) & 1 == 1) << at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PALERMO: Place = Place { longitude: 13.361_389, latitude: 38.115_556 };
    const CATANIA: Place = Place { longitude: 15.087_269, latitude: 37.502_669 };

    #[test]
    fn scores_hashes_and_distances_are_those_of_redis() {
        assert_eq!(PALERMO.score(), 3_479_099_956_230_698.0);
        assert_eq!(CATANIA.score(), 3_479_447_370_796_909.0);
        let (palermo, catania) =
            (Place::of_score(PALERMO.score()), Place::of_score(CATANIA.score()));
        assert_eq!(palermo.longitude.to_string(), "13.361389338970184");
        assert_eq!(palermo.latitude.to_string(), "38.1155563954963");
        assert_eq!(format!("{:.4}", palermo.distance_m(catania)), "166274.1516");
        assert_eq!(palermo.geohash(), "sqc8b49rny0");
        assert_eq!(catania.geohash(), "sqdtr74hyu0");
    }

    fn place() -> impl Strategy<Value = Place> {
        (-180.0..180.0_f64, -85.0..85.0_f64)
            .prop_map(|(longitude, latitude)| Place { longitude, latitude })
    }

    /// Whatever a sorted set holds, GEOPOS answers the place that Redis answers.
    #[test]
    fn scores_that_are_no_hashes_have_a_place_too() {
        let corner = Place { longitude: LONGITUDE_MAX, latitude: LATITUDE_MAX };
        assert_eq!(Place::of_score(-2.0), corner);
        assert_eq!(Place::of_score(1e18), corner);
        let south = Place { latitude: Place::of_score(0.0).latitude, ..corner };
        assert_eq!(Place::of_score(-1e300), south);
        assert_eq!(Place::of_score(1e300), Place::of_score(0.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn a_score_stands_for_its_place(place in place()) {
            let back = Place::of_score(place.score());
            prop_assert!(back.distance_m(place) < 1.0);
            prop_assert_eq!(back.score(), place.score());
        }

        /// Not beyond a pole or the line where the days meet: there Redis finds nothing either.
        #[test]
        fn the_ranges_hold_all_that_is_within(
            middle in (-120.0..120.0_f64, -60.0..60.0_f64), radius in 1.0..2_000_000.0_f64,
            bearing in (-1.0..1.0_f64, -1.0..1.0_f64), is_box: bool,
        ) {
            let middle = Place { longitude: middle.0, latitude: middle.1 };
            let shape = if is_box { Shape::Box(radius, radius / 2.0) } else { Shape::Circle(radius) };
            let place = Place {
                longitude: middle.longitude + bearing.0 * radius / 250_000.0,
                latitude: (middle.latitude + bearing.1 * radius / 450_000.0).clamp(-85.0, 85.0),
            };
            prop_assume!(shape.distance_m(middle, place).is_some());
            let score = place.score();
            let ranges = shape.ranges(middle);
            prop_assert!(ranges.len() <= 9);
            prop_assert!(ranges.iter().any(|(from, to)| (*from..*to).contains(&score)));
        }
    }
}
