//! The three questions of the original, for whoever starts the program bare on a terminal.

use crate::options::{bindable_ip, port};
use std::io::{self, BufRead, Read, Write};
use std::net::{IpAddr, SocketAddr};

/// Bytes of an answer that are looked at; no good answer is longer.
const MAX_ANSWER_BYTES: u64 = 1024;

/// What the person answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answers {
    /// All nodes are on this machine or LAN.
    pub(crate) local: bool,
    /// The address to bind.
    pub(crate) ip: IpAddr,
    /// The port to bind, 0 for any.
    pub(crate) port: u16,
}

/// Asks; Enter takes the default shown. `None`: the input ended, or the person quit.
pub(crate) fn ask(
    input: &mut impl BufRead,
    output: &mut impl Write,
    default_ip: impl Fn(bool) -> IpAddr,
    can_bind: impl Fn(SocketAddr) -> bool,
) -> io::Result<Option<Answers>> {
    let mut form = Form { input, output };
    let networks = "Are the others on different networks? (Y/N)";
    let Some(different) = form.question(networks, true, "Y", yes_or_no)? else { return Ok(None) };
    let local = !different;
    let ip = default_ip(local);
    let own_ip = |answer: &str| match bindable_ip(answer)? {
        ip if can_bind(SocketAddr::new(ip, 0)) => Ok(ip),
        ip => Err(format!("this machine does not have the address {ip}")),
    };
    let Some(ip) = form.question("IP address of this node", ip, &ip.to_string(), own_ip)? else { return Ok(None) };
    let free_port = |answer: &str| match port(answer)? {
        port if can_bind(SocketAddr::new(ip, port)) => Ok(port),
        port => Err(format!("port {port} is in use here, or only for the administrator")),
    };
    let Some(port) = form.question("Port (0: any that is free)", 0, "0", free_port)? else { return Ok(None) };
    Ok(Some(Answers { local, ip, port }))
}

/// Where the questions are written and the answers are read.
struct Form<'a, I, O> {
    input: &'a mut I,
    output: &'a mut O,
}

impl<I: BufRead, O: Write> Form<'_, I, O> {
    /// One question, again until the answer can be read.
    fn question<T>(
        &mut self,
        text: &str,
        default: T,
        shown: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> io::Result<Option<T>> {
        loop {
            write!(self.output, "{text} [{shown}]: ")?;
            self.output.flush()?;
            let Some(answer) = self.answer()? else {
                writeln!(self.output)?;
                return Ok(None);
            };
            match answer.trim() {
                "" => return Ok(Some(default)),
                quit if quit.eq_ignore_ascii_case("q") => return Ok(None),
                answer => match read(answer) {
                    Ok(value) => return Ok(Some(value)),
                    Err(hint) => writeln!(self.output, "  {hint}; Enter takes {shown}, Q quits.")?,
                },
            }
        }
    }

    /// One line, or `None` at the end of the input. What is too long is passed over and reads as a bad answer.
    fn answer(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        if (&mut *self.input).take(MAX_ANSWER_BYTES).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        if bytes.last() != Some(&b'\n') {
            self.input.skip_until(b'\n')?;
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

fn yes_or_no(answer: &str) -> Result<bool, String> {
    match answer.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(true),
        "n" | "no" => Ok(false),
        _ => Err("answer Y (they are elsewhere) or N (this machine or LAN)".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(typed: &str) -> (Option<Answers>, String) {
        let mut screen = Vec::new();
        let ip = |local| if local { [127, 0, 0, 1].into() } else { [10, 0, 0, 7].into() };
        let can_bind = |address: SocketAddr| address.ip() != IpAddr::from([8, 8, 8, 8]) && address.port() != 5999;
        let answers = ask(&mut typed.as_bytes(), &mut screen, ip, can_bind).expect("memory does not fail");
        (answers, String::from_utf8(screen).expect("text"))
    }

    #[test]
    fn enter_takes_the_default_shown() {
        let (answers, screen) = asked("\n\n\n");
        assert_eq!(answers, Some(Answers { local: false, ip: [10, 0, 0, 7].into(), port: 0 }));
        assert_eq!(
            screen,
            "Are the others on different networks? (Y/N) [Y]: IP address of this node [10.0.0.7]: Port (0: any that is free) [0]: "
        );
    }

    #[test]
    fn on_one_network_the_default_address_is_the_loopback() {
        let (answers, _) = asked("n\n\n5000\n");
        assert_eq!(answers, Some(Answers { local: true, ip: [127, 0, 0, 1].into(), port: 5000 }));
    }

    #[test]
    fn a_bad_answer_is_asked_again_with_a_hint() {
        let (answers, screen) = asked("maybe\nN\nhere\n8.8.8.8\n::1\n65536\n5999\n1\n");
        assert_eq!(answers.map(|answers| answers.port), Some(1));
        for hint in
            ["answer Y", "an address looks like", "does not have the address 8.8.8.8", "0 to 65535", "5999 is in use"]
        {
            assert!(screen.contains(hint), "{screen}");
        }
    }

    #[test]
    fn an_endless_answer_is_one_bad_answer() {
        let (answers, screen) = asked(&format!("{}\nn\n\n\n", "y".repeat(1 << 20)));
        assert!(answers.is_some());
        assert_eq!(screen.matches("answer Y").count(), 1);
    }

    #[test]
    fn the_end_of_the_input_quits_at_any_question() {
        for typed in ["", "y\n", "y\n\n", "q\n", "n\nQ\n"] {
            assert_eq!(asked(typed).0, None, "{typed:?}");
        }
    }
}
