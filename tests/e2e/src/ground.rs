//! Where the programs are, and a folder for each test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// Root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("tests/e2e lies two below the root")
        .to_owned()
}

/// Where cargo put the test that runs, and with it everything else: `target`.
pub fn target() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    // target/debug/deps/main-0123456789abcdef
    test.ancestors().nth(3).expect("tests lie in target/debug/deps").to_owned()
}

/// A program of ours, built from the sources as they are now. Asks cargo once per test process, unless
/// `cargo xtask ci` says that it has just done so.
pub fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        if std::env::var_os("NONSITE_PREBUILT").is_none() {
            // The same packages and so the same features as in `cargo xtask ci`: nothing is compiled twice.
            let status = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
                .args(["build", "--workspace", "--all-targets"])
                .env("CARGO_TARGET_DIR", target())
                .current_dir(root())
                .status()
                .expect("cargo can be run");
            assert!(status.success(), "cargo build: {status}");
        }
    });
    let path = target().join("debug").join(name);
    assert!(path.exists(), "{} is not there: run `cargo xtask ci --only build`", path.display());
    path
}

/// A test's folder: removed when the test passes, kept and named when it fails.
pub struct Place {
    folder: Option<TempDir>,
}

impl Place {
    /// A new one, named after the test.
    pub fn new(test: &str) -> Self {
        let folder = tempfile::Builder::new().prefix(&format!("nonsite-{test}-")).tempdir();
        Self { folder: Some(folder.expect("the temporary folder can be written")) }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.as_ref().expect("there until dropped").path()
    }

    /// A folder in it, made if it is not there.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path).expect("a folder can be made in the test's folder");
        path
    }

    /// Writes a file into it.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("a file can be written in the test's folder");
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take()
            && std::thread::panicking()
        {
            eprintln!("kept for a look: {}", folder.keep().display());
        }
    }
}

/// A port that nobody listens on now. Only for programs that cannot be told "any" and say which.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener.local_addr().expect("a bound listener has an address").port()
}
