//! Data in other files: what is read, and what never is.

use std::fs;
use std::path::PathBuf;

use prost::Message;

use super::*;
use crate::proto::StringStringEntryProto;
use crate::{TensorError, import};

/// A folder with a model in it that adds a constant of four numbers, and beside it a file that is none of its business.
struct Folder {
    all: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let all = tempfile::tempdir().expect("a folder");
        let bytes: Vec<u8> = (0..8).flat_map(|i| (i as f32).to_le_bytes()).collect();
        fs::create_dir_all(all.path().join("model/more")).expect("folders");
        for file in ["model/data.bin", "model/more/data.bin", "outside.bin"] {
            fs::write(all.path().join(file), &bytes).expect("a file");
        }
        Self { all }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.all.path().join(name)
    }

    /// Imports the model whose constant is said to be there.
    fn import(&self, entries: &[(&str, &str)]) -> Result<Imported, TensorError> {
        let entry = |(key, value): &(&str, &str)| StringStringEntryProto { key: (*key).into(), value: (*value).into() };
        let constant = TensorProto {
            external_data: entries.iter().map(entry).collect(),
            data_location: 1,
            float_data: vec![],
            ..floats("a", &[4, 1, 1], &[])
        };
        let model = model(&[("x", &[1, 4, 2, 2])], vec![node("Add", &["x", "a"], "y", vec![])], vec![constant], &["y"]);
        let path = self.path("model/model.onnx");
        fs::write(&path, model.encode_to_vec()).expect("a file");
        import(&path, &Options::default()).map_err(|error| match error {
            ImportError::Tensor { reason, .. } => reason,
            other => panic!("{other}"),
        })
    }

    fn refused(&self, entries: &[(&str, &str)]) -> String {
        self.import(entries).map(|imported| imported.text).unwrap_err().to_string()
    }
}

#[test]
fn data_beside_the_model_is_read() {
    let folder = Folder::new();
    let values = |entries: &[(&str, &str)]| folder.import(entries).expect("it is there").parameters[0].values.clone();
    assert_eq!(values(&[("location", "data.bin")]), [0.0, 1.0, 2.0, 3.0]);
    let part = [("location", "./more/data.bin"), ("offset", "12"), ("length", "16")];
    assert_eq!(values(&part), [3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn data_elsewhere_is_not() {
    let folder = Folder::new();
    let absolute = folder.path("outside.bin");
    let absolute = absolute.to_str().expect("a name");
    for location in
        [absolute, "../outside.bin", "more/../../outside.bin", "/etc/passwd", "..", "C:\\data", "more\\data.bin", ""]
    {
        let refused = folder.refused(&[("location", location)]);
        let expected =
            format!("its data is in `{location}`, which is not in the model's folder: only files below it are read");
        assert_eq!(refused, expected);
    }
    assert_eq!(folder.refused(&[]), "its data is in another file, and `location` is not given");
    assert!(
        folder.refused(&[("location", "none.bin")]).starts_with("its data is in `none.bin`, which cannot be read: ")
    );
    assert_eq!(folder.refused(&[("location", "more")]), "its data is in `more`, which cannot be read: it is no file");
}

#[cfg(unix)]
#[test]
fn links_are_followed_below_the_folder_alone() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    symlink("more/data.bin", folder.path("model/inside.bin")).expect("a link");
    assert!(folder.import(&[("location", "inside.bin")]).is_ok());
    symlink("../outside.bin", folder.path("model/link.bin")).expect("a link");
    symlink("..", folder.path("model/up")).expect("a link");
    for location in ["link.bin", "up/outside.bin"] {
        let expected = format!(
            "its data is in `{location}`, a link that leads out of the model's folder: only files below it are read, put the file itself there"
        );
        assert_eq!(folder.refused(&[("location", location)]), expected);
    }
}

#[test]
fn numbers_are_checked_against_the_file() {
    let folder = Folder::new();
    let refused = |more: &[(&str, &str)]| folder.refused(&[&[("location", "data.bin")], more].concat());
    assert_eq!(refused(&[("offset", "20")]), "its data is bytes 20 to 36 of `data.bin`, which has 32");
    let last = u64::MAX.to_string();
    assert!(refused(&[("offset", &last)]).contains("which has 32"));
    assert_eq!(refused(&[("length", "12")]), "its sizes [4, 1, 1] are 16 bytes, and there are 12");
    for wrong in ["-4", "18446744073709551616", "4k", ""] {
        assert!(refused(&[("offset", wrong)]).contains("which is no number"), "{wrong}");
    }
}

#[test]
fn other_files_are_no_models() {
    let folder = Folder::new();
    let refused = |name: &str| import(&folder.path(name), &Options::default()).unwrap_err().to_string();
    assert!(refused("none.onnx").starts_with("cannot read "));
    assert!(refused("model").starts_with("cannot read "));
    fs::write(folder.path("text.onnx"), "network net {}").expect("a file");
    assert!(refused("text.onnx").starts_with("this is not an ONNX file: "));
    let large = fs::File::create(folder.path("large.onnx")).expect("a file");
    large.set_len(1 << 40).expect("a length");
    assert!(refused("large.onnx").contains("has 1099511627776 bytes, and an ONNX file has at most 2147483647"));
}
