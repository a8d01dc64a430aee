#![allow(clippy::unwrap_used)]
use std::os::unix::fs::PermissionsExt as _;

use super::*;

const TEXT: &str = "onemap audit head 1\nat 2026-11-27T08:00:00.000+08:00\nrows 0\nposition 0\nhash 00\n";

/// A head of [`TEXT`] as a folder's key signs it.
fn head(dir: &Path, algorithm: Algorithm) -> Signed {
    let notary = Notary::new(dir.to_owned(), algorithm).unwrap();
    let Signature {
        bytes,
        key,
        algorithm,
    } = notary.sign(TEXT.as_bytes()).unwrap();
    Signed {
        algorithm,
        signed: TEXT.to_owned(),
        signature: BASE64_STANDARD.encode(bytes),
        key,
    }
}

fn read(head: &Signed, known: &[PublicKey]) -> Result<AuditHead, NotaryError> {
    read_head(&serde_json::to_vec(head).unwrap(), known)
}

fn built_in() -> impl Iterator<Item = Algorithm> {
    Algorithm::ALL
        .into_iter()
        .filter(|algorithm| algorithm.is_built_in())
}

#[test]
fn a_head_holds_by_its_folder_s_key_and_no_other_text_or_key_does() {
    for algorithm in built_in() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let signed = head(dir.path(), algorithm);
        let known = public_keys(dir.path()).unwrap();
        assert_eq!(known.len(), 1);
        let mode = dir
            .path()
            .join(algorithm.key_file())
            .metadata()
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert_eq!(read(&signed, &known).unwrap().rows, 0, "{algorithm:?}");
        assert_eq!(head(dir.path(), algorithm).key, signed.key, "the key stays");
        let changed = Signed {
            signed: TEXT.replace("rows 0", "rows 1"),
            ..head(dir.path(), algorithm)
        };
        assert!(matches!(read(&changed, &known), Err(NotaryError::Changed)));
        let mut bytes = BASE64_STANDARD.decode(&signed.signature).unwrap();
        let n_bytes = bytes.len();
        for i in 0..n_bytes {
            bytes[i] ^= 1;
            let spoilt = Signed {
                signature: BASE64_STANDARD.encode(&bytes),
                ..head(dir.path(), algorithm)
            };
            assert!(
                matches!(read(&spoilt, &known), Err(NotaryError::Changed)),
                "byte {i}"
            );
            bytes[i] ^= 1;
        }
        let foreign = head(other.path(), algorithm);
        assert!(matches!(read(&foreign, &known), Err(NotaryError::ForeignKey)));
        assert!(
            read(&foreign, &[]).is_ok(),
            "where no key is known its own counts"
        );
        let no_key = std::fs::write(dir.path().join(algorithm.key_file()), b"none");
        assert!(no_key.is_ok());
        assert!(matches!(public_keys(dir.path()), Err(NotaryError::Key { .. })));
    }
}

#[test]
fn a_public_key_is_read_as_it_is_written_and_says_its_algorithm() {
    for algorithm in built_in() {
        let dir = tempfile::tempdir().unwrap();
        let pem = head(dir.path(), algorithm).key;
        let key = PublicKey::from_pem(&pem).unwrap();
        assert_eq!((key.algorithm(), key.pem()), (algorithm, pem));
    }
    for none in [
        "",
        "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n",
        "???",
    ] {
        assert!(matches!(PublicKey::from_pem(none), Err(NotaryError::NoPublicKey)));
    }
}

#[test]
fn a_head_of_before_says_no_algorithm_and_what_it_says_is_its_key_s() {
    let dir = tempfile::tempdir().unwrap();
    let signed = head(dir.path(), Algorithm::Ed25519);
    let mut json = serde_json::to_value(&signed).unwrap();
    json.as_object_mut().unwrap().remove("algorithm");
    assert!(read_head(json.to_string().as_bytes(), &[]).is_ok());
    let said = Signed {
        algorithm: Algorithm::Sm2,
        ..signed
    };
    match read(&said, &[]) {
        Err(NotaryError::OtherAlgorithm { .. }) if cfg!(feature = "sm2") => {}
        Err(error @ NotaryError::NotBuiltIn(Algorithm::Sm2)) if !cfg!(feature = "sm2") => {
            assert!(error.to_string().contains("--features sm2"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        Notary::new(dir.path().to_owned(), Algorithm::Sm2).is_ok(),
        cfg!(feature = "sm2")
    );
}

/// GB/T 32918.5-2017 annex A: the example of a signature on the recommended curve.
#[cfg(feature = "sm2")]
#[test]
fn the_standard_s_own_signature_holds() {
    let number = |hex: &str| -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    };
    let point = number(
        "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020\
         CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13",
    );
    let key = PublicKey::new(Algorithm::Sm2, &point);
    let r = number("F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3");
    let s = number("B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA");
    // Both have their first bit set, so each has a zero before it in DER.
    let der = [&[0x30, 0x46, 0x02, 0x21, 0x00][..], &r, &[0x02, 0x21, 0x00], &s].concat();
    assert!(key.has_signed(b"message digest", &der).unwrap());
    assert!(!key.has_signed(b"message digests", &der).unwrap());
}

#[cfg(feature = "sm2")]
#[test]
fn what_is_no_point_and_no_der_signs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let signed = head(dir.path(), Algorithm::Sm2);
    let nowhere = PublicKey::new(Algorithm::Sm2, &[4; 65]);
    let signature = BASE64_STANDARD.decode(&signed.signature).unwrap();
    assert!(!nowhere.has_signed(TEXT.as_bytes(), &signature).unwrap());
    let key = PublicKey::from_pem(&signed.key).unwrap();
    for n in 0..signature.len() {
        assert!(!key.has_signed(TEXT.as_bytes(), &signature[..n]).unwrap());
        let longer = [&signature[..], &vec![0; n + 1]].concat();
        assert!(!key.has_signed(TEXT.as_bytes(), &longer).unwrap());
    }
}

#[cfg(feature = "sm2")]
proptest::proptest! {
    #[test]
    fn nothing_that_is_shown_as_a_signature_is_one_or_panics(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100),
        point in proptest::collection::vec(proptest::prelude::any::<u8>(), 65),
    ) {
        let key = PublicKey::new(Algorithm::Sm2, &point);
        proptest::prop_assert!(!key.has_signed(TEXT.as_bytes(), &bytes).unwrap());
        // As DER may begin.
        let der = [&[0x30, bytes.len() as u8][..], &bytes].concat();
        proptest::prop_assert!(!key.has_signed(TEXT.as_bytes(), &der).unwrap());
    }
}
