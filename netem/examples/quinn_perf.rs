//! A small sender and receiver on quinn, with its defaults, to compare with.
//!
//! ```text
//! quinn_perf serve                                   prints its certificate (hex) and "listening on IP:PORT", then serves
//! quinn_perf send IP:PORT CERTIFICATE --seconds S    prints one JSON object: bytes, seconds, goodput_mbps
//! ```

use bytes::Bytes;
use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use quinn::{ClientConfig, Endpoint, ServerConfig};
use std::error::Error;
use std::io::{Write, stdout};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is handed over at once, in bytes.
const CHUNK: usize = 1 << 20;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve"] => serve().await,
        ["send", address, certificate, "--seconds", seconds] => {
            send(
                address.parse()?,
                CertificateDer::from(from_hex(certificate)?),
                Duration::from_secs_f64(seconds.parse()?),
            )
            .await
        }
        _ => Err("usage: quinn_perf serve | quinn_perf send IP:PORT CERTIFICATE --seconds S".into()),
    }
}

async fn serve() -> Result<()> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let config = ServerConfig::with_single_cert(vec![certificate.clone()], key)?;
    let endpoint = Endpoint::server(config, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let hex: String = certificate.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(stdout(), "{hex}\nlistening on {}", endpoint.local_addr()?)?;
    stdout().flush()?;
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            while let Ok(mut stream) = connection.accept_uni().await {
                // Read without copying, in the order of arrival: quinn's cheapest way.
                while let Ok(Some(_)) = stream.read_chunk(usize::MAX, false).await {}
            }
        });
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
async fn send(address: SocketAddr, certificate: CertificateDer<'static>, duration: Duration) -> Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let mut endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
    endpoint.set_default_client_config(ClientConfig::with_root_certificates(Arc::new(roots))?);
    let connection = endpoint.connect(address, "localhost")?.await?;
    let mut stream = connection.open_uni().await?;
    let chunk = Bytes::from(vec![0; CHUNK]);
    let began = Instant::now();
    let mut bytes = 0_u64;
    while began.elapsed() < duration {
        stream.write_chunk(chunk.clone()).await?;
        bytes += CHUNK as u64;
    }
    // Everything counts only once it is acknowledged.
    stream.finish()?;
    stream.stopped().await?;
    let seconds = began.elapsed().as_secs_f64();
    let mbps = bytes as f64 * 8.0 / 1e6 / seconds;
    writeln!(stdout(), "{{\"bytes\":{bytes},\"seconds\":{seconds},\"goodput_mbps\":{mbps}}}")?;
    connection.close(0_u32.into(), b"done");
    endpoint.wait_idle().await;
    Ok(())
}

fn from_hex(hex: &str) -> Result<Vec<u8>> {
    let digits = (0..hex.len()).step_by(2).map(|at| hex.get(at..at + 2).ok_or("an odd number of hex digits"));
    digits.map(|pair| Ok(u8::from_str_radix(pair?, 16)?)).collect()
}
