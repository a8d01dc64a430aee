//! What a client certificate says of its holder: names and serial number (X.509, RFC 5280).
//!
//! A walk through the DER by position, because only four fields are wanted. The certificate's signature was
//! checked against the CA by rustls before; this only reads, and whatever is not as expected gives nothing.

/// Who a certificate was made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Serial number, big endian, without leading zero bytes.
    pub serial: Vec<u8>,
    /// Names in the order they are tried: common names of the subject, then DNS names and URIs of the
    /// subject alternative name.
    pub names: Vec<String>,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0C;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
/// `[0] EXPLICIT` around the version and `[3] EXPLICIT` around the extensions.
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;
/// dNSName and uniformResourceIdentifier of a GeneralName.
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 0x11];

impl Identity {
    /// Reads a certificate in DER. `None`: it is not one.
    pub fn read(certificate: &[u8]) -> Option<Self> {
        let mut outer = Der(certificate);
        let mut certificate = Der(outer.take(SEQUENCE)?);
        let mut body = Der(certificate.take(SEQUENCE)?);
        body.take_if(VERSION);
        let serial = without_zeros(body.take(INTEGER)?).to_vec();
        for _ in 0..3 {
            body.take(SEQUENCE)?; // signature algorithm, issuer, validity
        }
        let mut names = Vec::new();
        common_names(body.take(SEQUENCE)?, &mut names);
        body.take(SEQUENCE)?; // public key
        while let Some((tag, content)) = body.next() {
            if tag == EXTENSIONS {
                alternative_names(content, &mut names);
            }
        }
        Some(Self { serial, names })
    }
}

/// Serial numbers are compared without their sign byte.
pub(super) fn without_zeros(bytes: &[u8]) -> &[u8] {
    let n_zeros = bytes.iter().take_while(|b| **b == 0).count();
    &bytes[n_zeros..]
}

fn common_names(subject: &[u8], names: &mut Vec<String>) {
    let mut subject = Der(subject);
    while let Some(set) = subject.take(SET) {
        let mut set = Der(set);
        while let Some(attribute) = set.take(SEQUENCE) {
            let mut attribute = Der(attribute);
            if attribute.take(OID) != Some(COMMON_NAME) {
                continue;
            }
            if let Some((UTF8_STRING | PRINTABLE_STRING | IA5_STRING, text)) = attribute.next() {
                push(text, names);
            }
        }
    }
}

fn alternative_names(extensions: &[u8], names: &mut Vec<String>) -> Option<()> {
    let mut extensions = Der(Der(extensions).take(SEQUENCE)?);
    while let Some(extension) = extensions.take(SEQUENCE) {
        let mut extension = Der(extension);
        if extension.take(OID) != Some(SUBJECT_ALT_NAME) {
            continue;
        }
        extension.take_if(BOOLEAN);
        let mut general = Der(Der(extension.take(OCTET_STRING)?).take(SEQUENCE)?);
        while let Some((tag, content)) = general.next() {
            if let DNS_NAME | URI = tag {
                push(content, names);
            }
        }
    }
    Some(())
}

fn push(text: &[u8], names: &mut Vec<String>) {
    if let Ok(text) = std::str::from_utf8(text)
        && !text.is_empty()
    {
        names.push(text.to_owned());
    }
}

/// Elements of DER that follow one another.
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    /// The content of the next element, which must have this tag.
    fn take(&mut self, tag: u8) -> Option<&'d [u8]> {
        self.take_if(tag)
    }

    /// The content of the next element when it has this tag; otherwise it stays.
    fn take_if(&mut self, tag: u8) -> Option<&'d [u8]> {
        if *self.0.first()? != tag {
            return None;
        }
        Some(self.next()?.1)
    }

    /// The next element: its tag and content. Lengths are definite and of at most four bytes.
    fn next(&mut self) -> Option<(u8, &'d [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let mut length = usize::from(*first);
        if length > 0x7F {
            let n_bytes = length & 0x7F;
            if n_bytes == 0 || n_bytes > 4 {
                return None;
            }
            let (bytes, behind) = rest.split_at_checked(n_bytes)?;
            length = bytes.iter().fold(0, |sum, b| sum << 8 | usize::from(*b));
            rest = behind;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, SerialNumber};

    fn certificate() -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["meter-7.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, "Water");
        params.distinguished_name.push(DnType::CommonName, "meter-7");
        let uri = "urn:dev:meter-7".try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
        params.serial_number = Some(SerialNumber::from(vec![0x00, 0xAB, 0xCD]));
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn names_and_serial_are_read() {
        let identity = Identity::read(&certificate()).unwrap();
        assert_eq!(identity.serial, [0xAB, 0xCD]);
        assert_eq!(identity.names, ["meter-7", "meter-7.example", "urn:dev:meter-7"]);
    }

    #[test]
    fn a_certificate_that_was_cut_is_none() {
        let whole = certificate();
        for length in 0..whole.len() {
            assert_eq!(Identity::read(&whole[..length]), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            Identity::read(&bytes);
        }

        #[test]
        fn no_change_makes_it_panic(changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..8)) {
            let mut bytes = certificate();
            for (at, byte) in changes {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            Identity::read(&bytes);
        }
    }
}
