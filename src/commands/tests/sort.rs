//! `SORT` and `SORT_RO`.

use bytes::Bytes;

use super::Harness;

const BOTH: [&str; 2] = ["sort", "sort_ro"];

/// Runs the lines once with each command in the place of `S`.
#[track_caller]
fn both(setup: &str, lines: &str) {
    for name in BOTH {
        let mut server = Harness::new();
        server.script(setup);
        let lines: Vec<String> =
            lines.lines().map(|line| line.trim().replacen("S ", &format!("{name} "), 1)).collect();
        server.script(&lines.join("\n"));
    }
}

#[test]
fn elements_are_sorted_as_numbers_or_as_texts() {
    both(
        "rpush l 10 9 2 1.5 -3 1e1 -> 6
         sadd s b a c -> 3
         zadd z 3 1 2 20 1 3 -> 3",
        r#"S l -> ["-3" "1.5" "2" "9" "10" "1e1"]
         S l desc -> ["1e1" "10" "9" "2" "1.5" "-3"]
         S l desc asc alpha -> ["-3" "1.5" "10" "1e1" "2" "9"]
         S l alpha desc limit 1 2 -> ["2" "1e1"]
         S z -> ["1" "3" "20"]
         S z alpha -> ["1" "20" "3"]
         S s alpha -> ["a" "b" "c"]
         S s -> -ERR One or more scores can't be converted into double
         S s limit 0 0 -> -ERR One or more scores can't be converted into double
         S nosuch -> []"#,
    );
}

#[test]
fn limits_are_cut_to_what_there_is() {
    both(
        "rpush l 3 1 2 -> 3",
        r#"S l limit 0 2 -> ["1" "2"]
         S l limit 1 10 -> ["2" "3"]
         S l limit 1 -1 -> ["2" "3"]
         S l limit -5 1 -> ["1"]
         S l limit 3 1 -> []
         S l limit 0 0 -> []
         S l limit 9223372036854775807 9223372036854775807 -> []
         S l limit 2 9223372036854775807 -> ["3"]
         S l limit 0 1 limit 0 2 -> ["1" "2"]
         S l limit a 1 -> -ERR value is not an integer or out of range
         S l limit 1 -> -ERR syntax error
         S nosuch limit 1 1 -> []"#,
    );
}

#[test]
fn numbers_are_read_as_strtod_reads_them() {
    let mut server = Harness::new();
    let sort = |server: &mut Harness, elements: &[&'static str]| {
        server.run("del l");
        let mut words = vec![Bytes::from("rpush"), Bytes::from("l")];
        words.extend(elements.iter().map(|element| Bytes::from(*element)));
        server.run_words(&words);
        server.run("sort l")
    };
    assert_eq!(sort(&mut server, &["1", "", " 0.5", "-1\0x"]), r#"["-1\x00x" "" " 0.5" "1"]"#);
    assert_eq!(sort(&mut server, &["inf", "0x10", "-inf"]), r#"["-inf" "0x10" "inf"]"#);
    let error = "-ERR One or more scores can't be converted into double";
    for wrong in [" ", "1 ", "nan", "1e999", "x", "+"] {
        assert_eq!(sort(&mut server, &["1", wrong]), error, "{wrong}");
    }
}

#[test]
fn patterns_lead_to_strings_and_fields() {
    both(
        "rpush l 1 2 3 -> 3
         mset w_1 30 w_2 10 w_3 20 t_1 b t_2 c
         hset h_1 f 5 g x -> 2
         hset h_2 f 4 -> 1
         set h_3 string
         set x1-> arrow",
        r#"S l by w_* -> ["2" "3" "1"]
         S l by w_* desc limit 0 2 -> ["1" "3"]
         S l by w_* get # get w_* -> ["2" "10" "3" "20" "1" "30"]
         S l by h_*->f -> ["3" "2" "1"]
         S l by h_*->f get h_*->g get # -> [nil "3" nil "2" "x" "1"]
         S l get h_* -> [nil nil "string"]
         S l get w_1 -> [nil nil nil]
         S l get x*-> -> ["arrow" nil nil]
         S l by t_* alpha -> ["3" "1" "2"]
         S l by t_* alpha desc -> ["2" "1" "3"]
         S l by t_* -> -ERR One or more scores can't be converted into double
         S l by none_* -> ["1" "2" "3"]
         S l by none_* desc -> ["3" "2" "1"]"#,
    );
}

#[test]
fn equal_weights_are_told_apart_by_the_elements() {
    both(
        "rpush l b a c -> 3
         mset w_a 1 w_b 1 w_c 1.0",
        r#"S l by w_* -> ["a" "b" "c"]
         S l by w_* desc -> ["c" "b" "a"]
         S l by none_* alpha -> ["b" "a" "c"]"#,
    );
}

#[test]
fn without_a_star_the_kept_order_stays() {
    both(
        "rpush l 3 x 2 -> 3
         zadd z 1 a 5 b 2 c 10 d 3 e -> 5
         sadd s 3 1 2 -> 3",
        r#"S l by nosort -> ["3" "x" "2"]
         S l by nosort desc -> ["2" "x" "3"]
         S l by nosort limit 1 1 -> ["x"]
         S l by nosort desc limit 0 2 -> ["2" "x"]
         S l by nosort desc limit 2 5 -> ["3"]
         S l by nosort by w_* -> ["3" "x" "2"]
         S l by # -> ["3" "x" "2"]
         S z by nosort -> ["a" "c" "e" "b" "d"]
         S z by nosort desc limit 0 2 -> ["d" "b"]
         S z by nosort desc limit 3 9 -> ["c" "a"]
         S z by nosort limit 5 10 -> []
         S z by nosort limit -10 100 -> ["a" "c" "e" "b" "d"]
         S s by nosort limit 1 1 -> ["2"]
         S s by nosort desc -> ["1" "2" "3"]"#,
    );
}

#[test]
fn what_is_no_option_or_no_collection_is_refused() {
    both(
        "set string v
         hset hash f v -> 1",
        "S string -> -WRONGTYPE Operation against a key holding the wrong kind of value
         S hash by nosort -> -WRONGTYPE Operation against a key holding the wrong kind of value
         S string foo -> -ERR syntax error
         S string by -> -ERR syntax error
         S string get -> -ERR syntax error",
    );
    let mut server = Harness::new();
    server.script(
        "sort_ro l store t -> -ERR syntax error
         sort l store -> -ERR syntax error",
    );
}

#[test]
fn what_is_stored_replaces_whatever_was_there() {
    Harness::new().script(
        r#"rpush l 3 1 2 -> 3
         set t string ex 100
         sort l store t -> 3
         lrange t 0 -1 -> ["1" "2" "3"]
         ttl t -> -1
         sort l desc limit 0 2 get # get w_* store t -> 4
         lrange t 0 -1 -> ["3" "" "2" ""]
         sort l limit 9 9 store t -> 0
         exists t -> 0
         sort nosuch store t -> 0
         sort nosuch store l -> 0
         exists l -> 0
         sadd s 10 9 b -> 3
         sort s by nosort store t -> 3
         lrange t 0 -1 -> ["10" "9" "b"]
         sort s by nosort desc store s -> 3
         lrange s 0 -1 -> ["b" "9" "10"]
         sort s store t -> -ERR One or more scores can't be converted into double
         lrange t 0 -1 -> ["10" "9" "b"]
         sort s by nosort store u store v -> 3
         exists u v -> 1"#,
    );
}

#[test]
fn large_collections_are_sorted_and_stored() {
    let mut server = Harness::new();
    for at in 0..2000_u32 {
        let element = at * 7919 % 2000;
        server.run(&format!("rpush l {element}"));
        server.run(&format!("sadd s x{element}"));
        server.run(&format!("zadd z {element} y{}", 1999 - element));
        server.run(&format!("hset h{element} w {}", 1999 - element));
    }
    server.script(
        r#"sort l limit 1000 2 -> ["1000" "1001"]
         sort l by h*->w limit 0 2 get # get h*->w -> ["1999" "0" "1998" "1"]
         sort s alpha desc limit 0 2 -> ["x999" "x998"]
         sort z by nosort limit 700 2 -> ["y1299" "y1298"]
         sort z by nosort desc limit 700 2 -> ["y700" "y701"]
         sort l by nosort desc limit 1 1 -> ["162"]
         sort l store t -> 2000
         lindex t 1234 -> "1234"
         sort t limit 0 3 desc store t -> 3
         lrange t 0 -1 -> ["1999" "1998" "1997"]"#,
    );
}
