use super::*;

/// A file of that list and so many bytes of zeros.
fn file(list: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (list.len() as u64).to_le_bytes().to_vec();
    bytes.extend(list.as_bytes());
    bytes.extend(data);
    bytes
}

#[track_caller]
fn refused(list: &str, bytes: usize, expected: &str) {
    let found = TensorList::of_file(&file(list, &vec![0; bytes])).expect_err(list);
    assert_eq!(found.to_string(), expected, "{list}");
}

#[test]
fn tensors_are_read_by_name() {
    let list = r#" { "__metadata__" : {"format":"pt", "n": []},
        "a.weight":{"dtype":"F32","shape":[2, 1],"data_offsets":[0,8]},
        "b\u00e9\ud83d\ude00\n\"\/" : { "data_offsets" : [ 8 , 10 ] , "shape" : [ ] , "dtype" : "BF16" },
        "c": {"dtype":"F64","shape":[1],"data_offsets":[10,18]},
        "d": {"dtype":"F16","shape":[0],"data_offsets":[18,18]},
        "e": {"dtype":"I32","shape":[1],"data_offsets":[0,4]}}   "#;
    let mut data = Vec::new();
    data.extend([1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()));
    data.extend((1.0f32.to_bits() >> 16).to_le_bytes()[..2].iter());
    data.extend(0.1f64.to_le_bytes());
    let file = file(list, &data);
    let (tensors, rest) = TensorList::of_file(&file).expect("it is a list");
    assert_eq!(rest, data);
    let read = |name: &str| tensors.elements::<f32>(name, rest);
    assert_eq!(read("a.weight"), Ok(Some(vec![1.5, -2.0])));
    assert_eq!(read("bé😀\n\"/"), Ok(Some(vec![1.0])));
    assert_eq!(read("c"), Ok(Some(vec![0.1])));
    assert_eq!(read("d"), Ok(Some(vec![])));
    assert_eq!(read("f"), Ok(None));
    assert_eq!(read("e").expect_err("it is of integers").to_string(), "`e` is of I32, and parameters are floats");
    assert_eq!(tensors.elements::<f64>("c", rest), Ok(Some(vec![0.1])));
    assert_eq!(tensors.get("a.weight").map(|entry| entry.shape.clone()), Some(vec![2, 1]));
    assert_eq!(tensors.names().collect::<Vec<_>>(), ["a.weight", "bé😀\n\"/", "c", "d", "e"]);
    assert_eq!(TensorList::read(b"{}", 0), Ok(TensorList::default()));
}

#[test]
fn what_does_not_lie_in_the_file_is_refused() {
    let one = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    refused(&one("F32", "[2]", "[0,8]"), 7, "`a` should be bytes 0..8 of 7");
    refused(&one("F32", "[0]", "[8,4]"), 8, "`a` should be bytes 8..4 of 8");
    refused(&one("F32", "[3]", "[0,8]"), 8, "`a` has 8 bytes, which are not those of [3] F32");
    let huge = usize::MAX.to_string();
    let expected = format!("`a` has 0 bytes, which are not those of [{huge}, {huge}] F32");
    refused(&one("F32", &format!("[{huge},{huge}]"), "[0,0]"), 0, &expected);
    refused(&one("F32", "[2]", &format!("[0,{huge}]")), 8, &format!("`a` should be bytes 0..{huge} of 8"));
    refused(&one("Q4", "[2]", "[0,1]"), 1, "`a` is of Q4, which is no type of elements");
    refused(&one("F32", "[2]", "[0]"), 8, "`a` has no two data_offsets");
    refused(&one("F32", "\"2\"", "[0,8]"), 8, "`a` has no shape");
    refused(r#"{"a":{"shape":[2],"data_offsets":[0,8]}}"#, 8, "`a` has no dtype");
    let entry = r#""a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}"#;
    refused(&format!("{{{entry},{entry}}}"), 4, "its list of tensors has `a` twice");
    let twice = r#"{"a":{"dtype":"F32","dtype":"F64","shape":[],"data_offsets":[0,4]}}"#;
    refused(twice, 4, "its list of tensors has `a.dtype` twice");
}

#[test]
fn what_is_no_list_is_refused() {
    let at = |at: usize| format!("no list of tensors: what is written at its byte {at} does not belong there");
    for (list, byte) in [
        ("", 0),
        ("[]", 0),
        ("{", 1),
        ("{} x", 3),
        (r#"{"a"}"#, 4),
        (r#"{"a":1}"#, 5),
        (r#"{"a":{"b":-1}}"#, 10),
        (r#"{"a":{"b":[-1]}}"#, 11),
        (r#"{"a":{"b":{}}}"#, 10),
        (r#"{"a":{},}"#, 7),
        (r#"{"a\x":{}}"#, 4),
        (r#"{"\ud800":{}}"#, 8),
        (r#"{"\ud800\u0041":{}}"#, 3),
        ("{\"a\n\":{}}", 3),
        (r#"{"a":{"b":[99999999999999999999999]}}"#, 11),
    ] {
        refused(list, 0, &at(byte));
    }
    let bytes = |bytes: &[u8]| TensorList::of_file(bytes).expect_err("it is refused").to_string();
    assert_eq!(bytes(&[0; 7]), "it has 7 bytes, and a list of tensors has 8 and more");
    assert_eq!(
        bytes(&[3, 0, 0, 0, 0, 0, 0, 0, b'{', b'}']),
        "its list of tensors should have 3 bytes, and the file has 10"
    );
    assert_eq!(bytes(&[0xff; 9]), format!("its list of tensors should have {} bytes, and the file has 9", u64::MAX));
    assert_eq!(bytes(&[2, 0, 0, 0, 0, 0, 0, 0, b'{', 0xff]), at(1));
}

/// No byte that is changed or missing makes it panic or read what is not there.
#[test]
fn damaged_files_are_refused_or_read() {
    let list = r#"{"__metadata__":{"a":"b"},"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"b\u0041":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    let whole = file(list, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let look = |bytes: &[u8]| {
        if let Ok((tensors, data)) = TensorList::of_file(bytes) {
            for name in tensors.names() {
                let entry = tensors.get(name).expect("it is there");
                assert!(data.get(entry.bytes.clone()).is_some());
                let _ = tensors.elements::<f32>(name, data);
            }
        }
    };
    for at in 0..whole.len() {
        look(&whole[..at]);
        for byte in [0, b'"', b'{', b'}', b',', b'9', b'\\', 0xff] {
            let mut changed = whole.clone();
            changed[at] = byte;
            look(&changed);
        }
    }
}
