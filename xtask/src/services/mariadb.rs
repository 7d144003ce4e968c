//! MariaDB, as Debian packages it, with a data folder and a port of its own.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::launch::{self, Launch};
use super::{Ports, Process, Service};
use crate::prerequisites;

const SERVER: &str = "/usr/sbin/mariadbd";

pub(crate) struct MariaDb;

impl Service for MariaDb {
    fn name(&self) -> &'static str {
        "mariadb"
    }

    fn url(&self, ports: Ports) -> String {
        format!("mysql://root@127.0.0.1:{}/mysql", ports.clients)
    }

    fn start(&self, home: &Path, ports: Ports) -> Result<Vec<Process>> {
        if !Path::new(SERVER).exists() {
            prerequisites::install(&["mariadb-server"])?;
        }
        let data = home.join("data");
        fs::create_dir_all(&data)?;
        let account = launch::hand_over(home, "mysql")?;
        let launch = Launch { home, account, environment: Vec::new() };
        let user = format!("--user={}", account.unwrap_or("root"));
        let data_option = format!("--datadir={}", data.display());
        let mut options = vec!["--no-defaults", &data_option];
        if launch::is_root() {
            options.push(&user);
        }
        if !data.join("mysql").is_dir() {
            let make = ["mariadb-install-db", "--skip-test-db", "--auth-root-authentication-method=normal"];
            launch.run(&[&make[..1], &options, &make[1..]].concat())?;
        }
        let port = format!("--port={}", ports.clients);
        // A relative socket lies in the data folder, and its path cannot get too long.
        options.extend([port.as_str(), "--bind-address=127.0.0.1", "--socket=socket", "--pid-file=pid"]);
        options.push("--skip-name-resolve");
        Ok(vec![launch.spawn("mariadb", &[&[SERVER], options.as_slice()].concat())?])
    }

    fn is_ready(&self, ports: Ports) -> bool {
        let port = ports.clients.to_string();
        let options = ["--no-defaults", "--host=127.0.0.1", "--user=root"];
        let line = [&["mariadb-admin"], &options[..], &["--protocol=tcp", "--port", &port, "ping"]].concat();
        prerequisites::succeeds(&line)
    }
}
