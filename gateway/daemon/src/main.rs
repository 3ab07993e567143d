//! The gateway: see `gateway --help`.

fn main() -> std::process::ExitCode {
    gateway::cli::main()
}
