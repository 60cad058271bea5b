use super::*;
use std::io::Cursor;

/// An array's file: NumPy's header of that text, filled up, and the elements.
fn npy(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    let mut header = format!("{text:117}\n").into_bytes();
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.append(&mut header);
    file.extend(data);
    file
}

/// An archive as `savez` writes it: members as they are, with sizes of 64 bits beside what stands in front of each.
fn archive(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in members {
        let local = file.len() as u32;
        let lens = [(name.len() as u16).to_le_bytes(), 20_u16.to_le_bytes()].concat();
        file.extend([&b"PK\x03\x04"[..], &[0; 22], &lens, name.as_bytes(), &[0; 20], data].concat());
        let len = (data.len() as u32).to_le_bytes();
        let name_len = (name.len() as u16).to_le_bytes();
        directory.extend([&b"PK\x01\x02"[..], &[0; 16], &len, &len, &name_len, &[0; 12]].concat());
        directory.extend([&local.to_le_bytes()[..], name.as_bytes()].concat());
    }
    let (from, len) = (file.len() as u32, directory.len() as u32);
    file.append(&mut directory);
    let count = (members.len() as u16).to_le_bytes();
    file.extend([END, &[0; 4], &count, &count, &len.to_le_bytes(), &from.to_le_bytes(), &[0; 2]].concat());
    file
}

fn read_all(file: &[u8]) -> Result<TensorList, TensorError> {
    assert!(is_archive(file));
    list(Cursor::new(file), file.len() as u64).unwrap()
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[test]
fn arrays_are_tensors() {
    let halves: Vec<u8> = [0x3c00_u16, 0xc000].iter().flat_map(|x| x.to_le_bytes()).collect();
    let file = archive(&[
        ("stem.weight.npy", npy("<f4", "False", "(2, 1, 3)", &floats(&[1.0, 2.0, 3.0, 4.0, 5.0, -6.0]))),
        ("read me", b"no array".to_vec()),
        ("stem.bias.npy", npy("<f2", "False", "(2,)", &halves)),
        ("one.npy", npy("<f8", "True", "()", &0.5_f64.to_le_bytes())),
        ("row.npy", npy("<f4", "True", "(1, 2)", &floats(&[7.0, 8.0]))),
        ("none.npy", npy("<f4", "False", "(0, 5)", &[])),
        ("steps.npy", npy("<i8", "False", "(1,)", &[0; 8])),
    ]);
    let list = read_all(&file).unwrap();
    let names: Vec<_> = list.names().collect();
    assert_eq!(names, ["none", "one", "row", "stem.bias", "stem.weight", "steps"]);
    assert_eq!(list.get("stem.weight").unwrap().shape, [2, 1, 3]);
    let elements = |name: &str| list.elements::<f32>(name, &file).unwrap().unwrap();
    assert_eq!(elements("stem.weight"), [1.0, 2.0, 3.0, 4.0, 5.0, -6.0]);
    assert_eq!(elements("stem.bias"), [1.0, -2.0]);
    assert_eq!((elements("one"), elements("row"), elements("none")), (vec![0.5], vec![7.0, 8.0], vec![]));
    let refused = list.elements::<f32>("steps", &file).unwrap_err().to_string();
    assert_eq!(refused, "`steps` is of I64, and parameters are floats");
    assert_eq!(read_all(&archive(&[])).unwrap().names().count(), 0);
}

#[test]
fn what_is_refused() {
    let one = |descr, order, shape, bytes: &[u8]| archive(&[("w.npy", npy(descr, order, shape, bytes))]);
    let good = one("<f4", "False", "(2,)", &[0; 8]);
    let packed = {
        let mut file = good.clone();
        let at = file.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
        file[at + 10] = 8;
        file
    };
    let cases = [
        (packed, "`w` is compressed or encrypted; numpy.savez writes it as it is"),
        (one(">f4", "False", "(2,)", &[0; 8]), "`w` is of >f4, which is no type of elements"),
        (
            one("<f4", "True", "(2, 2)", &[0; 16]),
            "`w` lies column by column; numpy.ascontiguousarray brings it in order",
        ),
        (one("<f4", "False", "(3,)", &[0; 8]), "`w` has 8 bytes, which are not those of [3] F32"),
        (one("<f4", "False", "(9999999999999999999999,)", &[0; 8]), "`w` has no header that is understood"),
        (one("<f4", "No", "(2,)", &[0; 8]), "`w` has no header that is understood"),
        (archive(&[("w.npy", b"\x93NUMPY\x01\x00".to_vec())]), "`w` has no header that is understood"),
        (
            archive(&[("w.npy", npy("<f4", "False", "()", &[0; 4])), ("w.npy", npy("<f4", "False", "()", &[0; 4]))]),
            "its list of tensors has `w` twice",
        ),
        (good[..good.len() - 30].to_vec(), "the archive has no directory at its end"),
    ];
    for (file, expected) in cases {
        let found = read_all(&file).unwrap_err().to_string();
        assert_eq!(found, expected);
    }
}

/// Every byte changed, and every end: a list or an error, and no list of what is not in the file.
#[test]
fn broken_archives_are_read_or_refused() {
    let file = archive(&[
        ("a.npy", npy("<f4", "False", "(2, 2)", &floats(&[1.0; 4]))),
        ("b.npy", npy("<f8", "False", "(1,)", &[0; 8])),
    ]);
    let look = |file: &[u8]| {
        if let Ok(Ok(list)) = list(Cursor::new(file), file.len() as u64) {
            for name in list.names() {
                assert!(list.get(name).unwrap().bytes.end <= file.len());
                let _ = list.elements::<f32>(name, file);
            }
        }
    };
    for at in 0..file.len() {
        look(&file[..at]);
        for change in [0, 1, 0x7f, 0xff] {
            let mut broken = file.clone();
            broken[at] = change;
            look(&broken);
        }
    }
}
