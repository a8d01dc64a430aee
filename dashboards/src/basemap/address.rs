//! Addresses of tiles on other servers, with the key that they may want.

use std::fmt;

use onemap_store::remote::encoded;

/// A key that another server wants. It is never shown.
#[derive(Clone)]
pub struct Key(String);

impl Key {
    /// A key: letters, digits and signs that an address can hold.
    ///
    /// # Errors
    /// [`AddressError::Key`].
    pub fn new(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let is_sound = !text.is_empty() && text.len() <= 512 && text.bytes().all(|b| b.is_ascii_graphic());
        match is_sound {
            true => Ok(Self(text.to_owned())),
            false => Err(AddressError::Key),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Why an address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not an address with a host.
    #[error("an address begins with http:// or https:// and a host, and holds no user, space or fragment")]
    Url,
    /// A place in braces is missing.
    #[error("the address has no {{{0}}}")]
    Missing(&'static str),
    /// Braces that mean nothing.
    #[error("`{{{0}}}` means nothing in an address; {{z}}, {{x}}, {{y}} and {{key}} do")]
    Unknown(String),
    /// A key in an address, where others read it.
    #[error("a key does not stand in the address: write {{key}} and name its file with key_file")]
    Bare,
    /// The address has `{key}` and there is no key, or the other way round.
    #[error("{{key}} in the address and key_file belong together")]
    KeyAlone,
    /// The key is none.
    #[error("the key's file holds no key of up to 512 printable ASCII characters")]
    Key,
}

/// An address with places for zoom, column and row.
#[derive(Clone)]
pub struct Address {
    /// Scheme and host.
    origin: String,
    path: String,
    key: Option<Key>,
}

/// With `{key}` where the key goes.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

/// Parameters that usually hold a key: 天地图 `tk`, and those of others.
const KEYS: [&str; 6] = ["tk", "key", "apikey", "api_key", "token", "access_token"];

impl Address {
    /// `https://host/{z}/{x}/{y}.png?key={key}`.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn xyz(url: &str, key: Option<Key>) -> Result<Self, AddressError> {
        for place in ["z", "x", "y"] {
            if !url.contains(&format!("{{{place}}}")) {
                return Err(AddressError::Missing(place));
            }
        }
        Self::new(url, key)
    }

    /// WMTS 1.0.0 in key-value form (OGC 07-057r7, clause 8.2): `https://t0.tianditu.gov.cn/vec_w/wmts`. The key goes
    /// into `key_parameter`.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn wmts(url: &str, wanted: &Wmts<'_>, key: Option<Key>) -> Result<Self, AddressError> {
        let Wmts {
            layer,
            style,
            matrix_set,
            format,
            key_parameter,
        } = wanted;
        let between = match url.contains('?') {
            false => "?",
            true if url.ends_with(['?', '&']) => "",
            true => "&",
        };
        let [layer, style, matrix_set, format] = [layer, style, matrix_set, format].map(|text| encoded(text));
        let mut whole = format!(
            "{url}{between}SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER={layer}&STYLE={style}&TILEMATRIXSET={matrix_set}\
             &FORMAT={format}&TILEMATRIX={{z}}&TILEROW={{y}}&TILECOL={{x}}"
        );
        if key.is_some() && !url.contains("{key}") {
            whole.push_str(&format!("&{}={{key}}", encoded(key_parameter)));
        }
        Self::new(&whole, key)
    }

    fn new(url: &str, key: Option<Key>) -> Result<Self, AddressError> {
        let rest = ["https://", "http://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme));
        let rest = rest.ok_or(AddressError::Url)?;
        let n_origin = url.len() - rest.len() + rest.find(['/', '?']).unwrap_or(rest.len());
        let (origin, path) = url.split_at(n_origin);
        let host = &origin[url.len() - rest.len()..];
        let is_sound = |c: char| c.is_ascii_graphic() && !matches!(c, '#' | '"' | '<' | '>' | '\\');
        if host.is_empty() || host.contains(['@', '{']) || !url.chars().all(is_sound) {
            return Err(AddressError::Url);
        }
        let mut rest = path;
        while let Some(at) = rest.find('{') {
            let end = rest[at..].find('}').ok_or(AddressError::Url)? + at;
            match &rest[at + 1..end] {
                "z" | "x" | "y" | "key" => rest = &rest[end + 1..],
                other => return Err(AddressError::Unknown(other.chars().take(32).collect())),
            }
        }
        let query = path.split_once('?').map_or("", |(_, query)| query);
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let is_key = KEYS.contains(&name.to_ascii_lowercase().as_str());
            if is_key && !value.is_empty() && value != "{key}" {
                return Err(AddressError::Bare);
            }
        }
        if path.contains("{key}") != key.is_some() {
            return Err(AddressError::KeyAlone);
        }
        Ok(Self {
            origin: origin.to_owned(),
            path: path.to_owned(),
            key,
        })
    }

    /// Scheme and host.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Path and query of one tile, with the key in them: for the wire, not for eyes.
    pub(super) fn path(&self, z: u8, x: u32, y: u32) -> String {
        let mut path = self.path.replace("{z}", &z.to_string());
        path = path.replace("{x}", &x.to_string()).replace("{y}", &y.to_string());
        if let Some(Key(key)) = &self.key {
            path = path.replace("{key}", &encoded(key));
        }
        path
    }
}

/// What a WMTS is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wmts<'a> {
    /// `vec`, `cva`, `img`.
    pub layer: &'a str,
    /// Usually `default`.
    pub style: &'a str,
    /// `w` of 天地图's Web Mercator.
    pub matrix_set: &'a str,
    /// `tiles` of 天地图; of others a media type.
    pub format: &'a str,
    /// `tk` of 天地图.
    pub key_parameter: &'a str,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]
    use super::*;

    const TIANDITU: Wmts<'_> = Wmts {
        layer: "vec",
        style: "default",
        matrix_set: "w",
        format: "tiles",
        key_parameter: "tk",
    };

    #[test]
    fn addresses_are_what_the_servers_document() {
        let key = || Some(Key::new(" 0123abc\n").unwrap());
        let own = Address::wmts("https://t0.tianditu.gov.cn/vec_w/wmts", &TIANDITU, key()).unwrap();
        assert_eq!(own.origin(), "https://t0.tianditu.gov.cn");
        assert_eq!(
            own.path(10, 800, 400),
            "/vec_w/wmts?SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER=vec&STYLE=default&TILEMATRIXSET=w&FORMAT=tiles&TILEMATRIX=10&TILEROW=400&TILECOL=800&tk=0123abc"
        );
        assert!(!format!("{own:?}").contains("0123abc"), "{own:?}");
        let xyz = Address::xyz("http://tiles.test:81/{z}/{x}/{y}.png?k={key}", key()).unwrap();
        assert_eq!(
            (xyz.origin(), &*xyz.path(3, 1, 2)),
            ("http://tiles.test:81", "/3/1/2.png?k=0123abc")
        );
    }

    #[test]
    fn what_is_no_address_is_named() {
        let key = || Some(Key::new("0123abc").unwrap());
        for (url, key, fault) in [
            ("ftp://a/{z}/{x}/{y}", None, AddressError::Url),
            ("http:///{z}/{x}/{y}", None, AddressError::Url),
            ("http://u:p@a/{z}/{x}/{y}", None, AddressError::Url),
            ("http://a/{z}/{x}/{y}#x", None, AddressError::Url),
            ("http://a/{z}/{x}/{y} z", None, AddressError::Url),
            ("http://{s}.a/{z}/{x}/{y}", None, AddressError::Url),
            ("http://a/{z}/{x}", None, AddressError::Missing("y")),
            (
                "http://a/{z}/{x}/{y}/{s}",
                None,
                AddressError::Unknown("s".into()),
            ),
            ("http://a/{z}/{x}/{y}?tk=0123abc", None, AddressError::Bare),
            ("http://a/{z}/{x}/{y}?TOKEN=0123abc", key(), AddressError::Bare),
            ("http://a/{z}/{x}/{y}?tk={key}", None, AddressError::KeyAlone),
            ("http://a/{z}/{x}/{y}", key(), AddressError::KeyAlone),
        ] {
            assert_eq!(Address::xyz(url, key).unwrap_err(), fault, "{url}");
        }
        for text in ["", " \n", "a b", "键"] {
            assert!(Key::new(text).is_err(), "{text}");
        }
    }
}
