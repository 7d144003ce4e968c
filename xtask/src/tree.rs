//! Where things are: the workspace's folder, the one target folder, and the folders that the chores keep in it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand};
use duct::{Expression, cmd};

/// The work tree, as cargo sees it.
pub(crate) struct Tree {
    /// The workspace's packages and their dependencies, without the crates from outside.
    pub(crate) metadata: Metadata,
}

impl Tree {
    /// Asks cargo about the workspace that this program was built from.
    pub(crate) fn locate() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let metadata = MetadataCommand::new()
            .manifest_path(manifest)
            .no_deps()
            .exec()
            .context("cargo metadata cannot read the workspace")?;
        Ok(Self { metadata })
    }

    /// The repository's folder.
    pub(crate) fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    /// A folder or file in the target folder.
    pub(crate) fn target(&self, inside: &str) -> PathBuf {
        self.metadata.target_directory.as_std_path().join(inside)
    }

    /// The debug build of the leveret binary, which the workspace's tests build on their way.
    pub(crate) fn leveret(&self) -> PathBuf {
        self.target("debug/leveret")
    }

    /// A cargo command in the workspace's root.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Expression {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        cmd(cargo, arguments).dir(self.root()).stdin_null()
    }
}
