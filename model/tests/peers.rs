//! Codes and coordinates against programs we did not write: python-stdnum and PROJ, by `tests/peers/code_checks.py`
//! (`tests/peers/install.sh` installs them, pinned).
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use onemap_model::Crs;
use onemap_model::code::{CitizenNumber, CodeError, CreditCode};

const N_CODES: usize = 100_000;

/// What the peers say of each line, or `None` with a loud word.
fn ask(lines: &[String]) -> Option<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = root.join("target/peers/codes/bin/python");
    if !python.exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "tests/peers/install.sh must have run in CI"
        );
        eprintln!("SKIPPED: target/peers/codes is not there (tests/peers/install.sh installs it)");
        return None;
    }
    let mut child = Command::new(python)
        .arg(root.join("tests/peers/code_checks.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = lines.join("\n") + "\n";
    let writing = std::thread::spawn(move || stdin.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    assert!(output.status.success());
    let answers: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(answers.len(), lines.len());
    Some(answers)
}

/// A generator of its own (splitmix64), so that the codes are the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
    fn of(&mut self, alphabet: &str) -> char {
        let chars: Vec<char> = alphabet.chars().collect();
        chars[self.below(chars.len())]
    }
    fn text(&mut self, alphabet: &str, n: usize) -> String {
        (0..n).map(|_| self.of(alphabet)).collect()
    }
    /// One of its characters is another, perhaps the same.
    fn mutated(&mut self, code: &str, alphabet: &str) -> String {
        let mut chars: Vec<char> = code.chars().collect();
        let at = self.below(chars.len());
        chars[at] = self.of(alphabet);
        chars.into_iter().collect()
    }
}

const MUTATIONS: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcxyz -０９Ｘ一";

/// The code with the check character that makes it whole, by trying all.
fn complete(first: &str, checks: &str, is_good: impl Fn(&str) -> bool) -> String {
    let mut all = checks.chars().map(|c| format!("{first}{c}"));
    all.find(|code| is_good(code))
        .unwrap_or_else(|| format!("{first}0"))
}

#[test]
fn mutated_credit_codes_are_accepted_exactly_as_python_stdnum_accepts_them() {
    let mut dice = Dice(1);
    let alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY";
    let mut codes = Vec::new();
    for _ in 0..N_CODES {
        let first = dice.text("0123456789", 8) + &dice.text(alphabet, 9);
        let good = complete(&first, alphabet, |code| CreditCode::parse(code).is_ok());
        codes.push(dice.mutated(&good, MUTATIONS));
        if codes.len() % 10 == 0 {
            codes.push(good);
        }
    }
    let lines: Vec<String> = codes.iter().map(|code| format!("uscc {code}")).collect();
    let Some(answers) = ask(&lines) else { return };
    let mut n_accepted = 0;
    for (code, theirs) in codes.iter().zip(answers) {
        let ours = CreditCode::parse(code).is_ok();
        assert_eq!(ours, theirs == "1", "{code}");
        n_accepted += usize::from(ours);
    }
    assert!(n_accepted > N_CODES / 10, "{n_accepted}");
}

#[test]
fn mutated_citizen_numbers_are_accepted_exactly_as_python_stdnum_accepts_them() {
    let mut dice = Dice(2);
    let divisions = [
        "630102", "630121", "110105", "440524", "310101", "632122", "630122", "999999",
    ];
    let mut numbers = Vec::new();
    for _ in 0..N_CODES {
        let division = divisions[dice.below(divisions.len())];
        let (year, month, day) = (1984 + dice.below(40), 1 + dice.below(12), 1 + dice.below(31));
        let first = format!("{division}{year}{month:02}{day:02}{:03}", dice.below(1000));
        let good = complete(&first, "0123456789X", |n| {
            !matches!(CitizenNumber::parse(n), Err(CodeError::Check { .. }))
        });
        numbers.push(dice.mutated(&good, MUTATIONS));
        if numbers.len() % 10 == 0 {
            numbers.push(good);
        }
    }
    let lines: Vec<String> = numbers.iter().map(|number| format!("ric {number}")).collect();
    let Some(answers) = ask(&lines) else { return };
    let (mut n_accepted, mut n_places) = (0, 0);
    for (number, theirs) in numbers.iter().zip(answers) {
        let ours = CitizenNumber::parse(number);
        match theirs.as_str() {
            "1" => assert!(ours.is_ok(), "{number}: {ours:?}"),
            // Only the division is wrong for the year of birth: ours accepts the code of a later year, since numbers
            // were given to everyone in 1984 with the codes of then.
            "place" => n_places += usize::from(ours.is_ok()),
            _ => assert!(ours.is_err(), "{number}"),
        }
        n_accepted += usize::from(theirs == "1");
    }
    assert!(
        n_accepted > N_CODES / 20 && n_places < n_accepted,
        "{n_accepted} {n_places}"
    );
    eprintln!("{n_accepted} accepted by both, {n_places} by ours alone for a code of a later year");
}

#[test]
fn projected_points_are_those_of_proj_in_every_zone() {
    let mut dice = Dice(3);
    let mut points = Vec::new();
    for code in (4513u16..=4554).chain([3857]) {
        let middle = match code {
            3857 => 102.0,
            4513..=4533 => f64::from(code - 4513 + 25) * 3.0,
            _ => f64::from(code - 4534 + 25) * 3.0,
        };
        for _ in 0..200 {
            let lon = middle + (dice.below(4_000_000) as f64 - 2_000_000.0) * 1e-6;
            points.push((code, lon, dice.below(60_000_000) as f64 * 1e-6));
        }
    }
    let lines: Vec<String> = points
        .iter()
        .map(|(code, lon, lat)| format!("to {code} {lon} {lat}"))
        .collect();
    let Some(answers) = ask(&lines) else { return };
    for ((code, lon, lat), theirs) in points.into_iter().zip(answers) {
        let crs = Crs::from_epsg(code).unwrap();
        let (x, y) = crs.from_wgs84(lon, lat);
        let theirs: Vec<f64> = theirs.split(' ').map(|n| n.parse().unwrap()).collect();
        assert!(
            (x - theirs[0]).abs() < 1e-6 && (y - theirs[1]).abs() < 1e-6,
            "{crs} {lon} {lat}: {x} {y} {theirs:?}"
        );
        let back = crs.read(theirs[0], theirs[1]).unwrap();
        assert!(
            (back.0 - lon).abs() < 1e-11 && (back.1 - lat).abs() < 1e-11,
            "{crs} {lon} {lat}: {back:?}"
        );
    }
}
