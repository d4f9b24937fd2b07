//! Places on earth: the examples of Redis's documents, options, texts.

use super::collections::both;

const SICILY: &str = "geoadd s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania -> 2\n";

#[test]
fn adding_and_asking() {
    both(&format!(
        "{SICILY}
         zscore s Palermo -> ,3479099956230698
         geodist s Palermo Catania -> \"166274.1516\"
         geodist s Palermo Catania km -> \"166.2742\"
         geodist s Palermo Palermo MI -> \"0.0000\"
         geodist s Palermo none -> nil
         geodist none a b -> nil
         geodist s Palermo Catania ly -> -ERR unsupported unit provided. please use M, KM, FT, MI
         geodist s Palermo Catania m m -> -ERR syntax error
         geohash s Palermo none Catania -> [\"sqc8b49rny0\" nil \"sqdtr74hyu0\"]
         geohash s -> []
         geopos s Palermo none -> [[,13.361389338970184 ,38.1155563954963] nil]
         geopos none a -> [nil]
         geoadd s nx 1 1 Palermo -> 0
         geoadd s xx ch 13.5 38 Palermo 1 1 new -> 1
         geoadd s nx xx 1 1 a -> -ERR syntax error
         geoadd s 1 1 a 2 -> -ERR syntax error
         geoadd s x 1 a -> -ERR value is not a valid float
         geoadd s 1 86 a -> -ERR invalid longitude,latitude pair 1.000000,86.000000"
    ));
}

#[test]
fn searching() {
    both(&format!(
        "{SICILY}
         geoadd s 12.758489 38.788135 edge1 17.241510 38.788135 edge2 -> 2
         geosearch s fromlonlat 15 37 byradius 200 km asc -> [\"Catania\" \"Palermo\"]
         geosearch s fromlonlat 15 37 bybox 400 400 km asc withcoord withdist -> \
         [[\"Catania\" \"56.4413\" [,15.087267458438873 ,37.50266842333162]] \
         [\"Palermo\" \"190.4424\" [,13.361389338970184 ,38.1155563954963]] \
         [\"edge2\" \"279.7403\" [,17.241510450839996 ,38.78813451624225]] \
         [\"edge1\" \"279.7405\" [,12.75848776102066 ,38.78813451624225]]]
         geosearch s frommember Palermo byradius 1 m withhash -> [[\"Palermo\" 3479099956230698]]
         geosearch s fromlonlat 15 37 byradius 300 km count 1 -> [\"Catania\"]
         geosearch s fromlonlat 15 37 byradius 300 km desc count 1 -> [\"edge1\"]
         geosearch none fromlonlat 15 37 byradius 200 km -> []
         geosearchstore t s fromlonlat 15 37 byradius 200 km -> 2
         zrange t 0 -1 withscores -> [(\"Palermo\" ,3479099956230698) (\"Catania\" ,3479447370796909)]
         geosearchstore t s fromlonlat 15 37 byradius 200 km storedist count 1 -> 1
         zrange t 0 -1 -> [\"Catania\"]
         geosearchstore t none fromlonlat 15 37 byradius 200 km -> 0
         exists t -> 0
         georadius s 15 37 200 km asc -> [\"Catania\" \"Palermo\"]
         georadius_ro s 15 37 200 km desc withdist -> [[\"Palermo\" \"190.4424\"] [\"Catania\" \"56.4413\"]]
         georadius s 15 37 200 km store t -> 2
         georadiusbymember s Palermo 200 km asc storedist t -> 3
         zrange t 0 0 withscores -> [(\"Palermo\" ,0)]
         georadiusbymember_ro s Palermo 1 m -> [\"Palermo\"]
         georadiusbymember none x bad bad -> []"
    ));
}

#[test]
fn errors_of_searching() {
    both(&format!(
        "{SICILY}
         geosearch s frommember x byradius 1 m -> -ERR could not decode requested zset member
         geosearch s byradius 1 m asc withdist -> -ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for geosearch
         geosearch s fromlonlat 1 1 asc asc asc -> -ERR exactly one of BYRADIUS and BYBOX can be specified for geosearch
         geosearch s fromlonlat 1 1 frommember x byradius 1 m -> -ERR syntax error
         geosearch s fromlonlat 1 1 byradius 1 m bybox 1 1 m -> -ERR syntax error
         geosearch s fromlonlat 1 1 byradius 1 m any -> -ERR the ANY argument requires COUNT argument
         geosearch s fromlonlat 1 1 byradius 1 m count 0 -> -ERR COUNT must be > 0
         geosearch s fromlonlat 1 1 byradius 1 m count x -> -ERR value is not an integer or out of range
         geosearch s fromlonlat 1 1 byradius x m -> -ERR need numeric radius
         geosearch s fromlonlat 1 1 byradius -1 m -> -ERR radius cannot be negative
         geosearch s fromlonlat 1 1 bybox x 1 m -> -ERR need numeric width
         geosearch s fromlonlat 1 1 bybox 1 x m -> -ERR need numeric height
         geosearch s fromlonlat 1 1 bybox 1 -1 m -> -ERR height or width cannot be negative
         geosearch s fromlonlat 1 1 byradius 1 ly -> -ERR unsupported unit provided. please use M, KM, FT, MI
         geosearchstore t s fromlonlat 1 1 byradius 1 m withdist -> -ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options
         georadius s 1 1 1 m withdist store t -> -ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options
         georadius_ro s 1 1 1 m store t -> -ERR syntax error
         georadius s 1 91 1 m -> -ERR invalid longitude,latitude pair 1.000000,91.000000"
    ));
}
