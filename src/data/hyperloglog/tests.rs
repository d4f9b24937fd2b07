use proptest::prelude::*;

use super::*;

/// What redis-server 7.0.15 makes of `PFADD` of `element:0` and so on with this
/// `hll-sparse-max-bytes`: length and checksum of the string, estimate, checksum with that kept.
const VECTORS: &[(u64, u64, usize, u32, u64, u32)] = &[
    (3000, 0, 18, 0x1eab_ee9c, 0, 0xff9e_f51c),
    (3000, 1, 21, 0x6644_8c6a, 1, 0xa562_4137),
    (3000, 2, 24, 0xb8e4_7623, 2, 0x5911_530f),
    (3000, 10, 48, 0x7e5c_c6d8, 10, 0xf93a_673d),
    (3000, 100, 285, 0x19a9_bb09, 99, 0x50aa_00e1),
    (3000, 500, 1050, 0x579b_9ca1, 502, 0x142d_7dd8),
    (3000, 1000, 1897, 0xd6ce_5880, 997, 0x0c2a_7f48),
    (3000, 1500, 2722, 0x5ce6_ade5, 1500, 0xeeb8_a297),
    (3000, 2500, 12304, 0xb23e_3b5f, 2519, 0x9ad8_a912),
    (3000, 5000, 12304, 0xc2cb_db79, 5005, 0xc44f_0411),
    (3000, 20_000, 12304, 0x30cd_8dee, 19_986, 0x3876_51d4),
    (3000, 200_000, 12304, 0x5f8d_a841, 198_321, 0xef83_71cb),
    (0, 0, 18, 0x1eab_ee9c, 0, 0xff9e_f51c),
    (0, 1, 12304, 0x53f8_3f2d, 1, 0xcca1_03ef),
    (0, 10, 12304, 0x4dbc_baf4, 10, 0x1f98_f5fd),
    (100, 10, 48, 0x7e5c_c6d8, 10, 0xf93a_673d),
    (100, 100, 12304, 0xc1d1_1187, 99, 0x414a_8e21),
    (20_000, 2500, 4239, 0xb278_6107, 2519, 0x8292_454a),
    (20_000, 5000, 7205, 0xd2be_e4cf, 5005, 0x906d_b0dc),
];

#[test]
fn strings_and_estimates_are_those_of_redis() {
    for (limit, count, len, before, estimate, after) in VECTORS {
        let mut sketch = HyperLogLog::default();
        for number in 0..*count {
            sketch.add(format!("element:{number}").as_bytes(), *limit).unwrap();
        }
        sketch.forget_estimate();
        let what = format!("{count} elements, {limit} bytes");
        assert_eq!(sketch.bytes.len(), *len, "{what}");
        assert_eq!(crc32fast::hash(&sketch.bytes), *before, "{what}");
        assert_eq!(sketch.estimate(), Ok(*estimate), "{what}");
        assert_eq!(sketch.kept_estimate(), Some(*estimate), "{what}");
        assert_eq!(crc32fast::hash(&sketch.into_bytes()), *after, "{what}");
    }
}

/// Register and value for the first letters of the alphabet, as redis-server 7.0.15 has them.
#[test]
fn elements_of_every_length_go_where_redis_puts_them() {
    let alphabet = b"abcdefghijklmnopqrst";
    let known = [
        (5938, 2),
        (12711, 2),
        (719, 1),
        (9474, 1),
        (11070, 8),
        (3726, 4),
        (13647, 2),
        (5634, 2),
        (1383, 1),
        (6903, 1),
        (12228, 1),
        (14121, 1),
        (9695, 5),
        (9157, 1),
        (5697, 2),
        (12377, 4),
        (9328, 1),
        (4271, 1),
        (14275, 2),
        (11774, 1),
    ];
    for (len, (register, value)) in known.into_iter().enumerate() {
        assert_eq!(rank_of(&alphabet[..len]), Rank { register, value }, "{len} bytes");
    }
}

#[test]
fn what_is_no_hyperloglog() {
    let empty = HyperLogLog::default().into_bytes();
    assert_eq!(empty[..], b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff"[..]);
    assert!(HyperLogLog::from_bytes(&empty[..16]).is_some());
    assert!(HyperLogLog::from_bytes(&empty[..15]).is_none());
    for (at, byte) in [(0, b'h'), (4, 2), (4, 0)] {
        let mut string = empty.to_vec();
        string[at] = byte;
        assert!(HyperLogLog::from_bytes(&string).is_none(), "byte {at} is {byte}");
    }
}

#[test]
fn runs_that_do_not_fill_the_registers_are_corrupted() {
    let with = |runs: &[u8]| HyperLogLog { bytes: [&header(SPARSE)[..], runs].concat() };
    for runs in [
        &b""[..],
        b"\x7f",
        b"\x7f\xfe",
        b"\x7f\xff\x00",
        b"\x7f\xff\x80",
        b"\x7f\xff\x7f",
        b"\x7f\xfe\x81",
    ] {
        let mut sketch = with(runs);
        assert_eq!(sketch.estimate(), Err(Corrupted), "{runs:?}");
        assert_eq!(sketch.densify(), Err(Corrupted), "{runs:?}");
        assert_eq!(Registers::default().join(&sketch), Err(Corrupted), "{runs:?}");
    }
    assert_eq!(with(b"\x7f").raise(0, 1, 3000), Err(Corrupted));
    assert_eq!(with(b"\x7f\xfe").raise(REGISTERS - 1, 1, 3000), Err(Corrupted));
    let mut long = with(&[0; 2 * REGISTERS + 1]);
    assert_eq!(long.raise(0, 1, u64::MAX), Err(Corrupted));
}

fn values(sketch: &HyperLogLog) -> Vec<u8> {
    let mut union = Registers::default();
    union.join(sketch).unwrap();
    union.values().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn registers_are_an_array(
        raises in prop::collection::vec(
            (prop_oneof![0..REGISTERS, 0..40_usize, REGISTERS - 40..REGISTERS], 1_u8..36), 0..300,
        ),
        limit in 16_u64..400,
    ) {
        let mut array = vec![0; REGISTERS];
        let mut sketch = HyperLogLog::default();
        let mut dense = HyperLogLog::default();
        prop_assert_eq!(dense.densify(), Ok(true));
        for (register, value) in raises {
            let raised = Ok(array[register] < value);
            prop_assert_eq!(sketch.raise(register, value, limit), raised);
            prop_assert_eq!(dense.raise(register, value, limit), raised);
            array[register] = value.max(array[register]);
        }
        prop_assert!(!sketch.is_sparse() || sketch.bytes.len() as u64 <= limit.max(18));
        prop_assert_eq!(&values(&sketch), &array);
        prop_assert_eq!(&values(&dense), &array);
        prop_assert_eq!(sketch.estimate(), dense.estimate());
        let mut copy = HyperLogLog::default();
        let mut union = Registers::default();
        union.join(&sketch).unwrap();
        copy.raise_all(&union, 3000).unwrap();
        prop_assert_eq!(values(&copy), array);
        prop_assert_eq!(union.estimate(), sketch.estimate().unwrap());
    }

    #[test]
    fn damage_never_panics(
        damage in prop::collection::vec((16..2000_usize, any::<u8>()), 1..6), count in 0..300_u64,
    ) {
        let mut sketch = HyperLogLog::default();
        for number in 0..count {
            sketch.add(&number.to_le_bytes(), 3000).unwrap();
        }
        for (at, byte) in damage {
            let len = sketch.bytes.len();
            sketch.bytes[16 + (at - 16) % (len - 16)] = byte;
        }
        let _ = sketch.estimate();
        let _ = sketch.clone().densify();
        for number in 0..50_u64 {
            let _ = sketch.add(&number.to_be_bytes(), 3000);
        }
    }
}
