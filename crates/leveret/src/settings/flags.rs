//! The flags of `serve` and `config`: one for every setting, and `--config`.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};

use super::table::{SETTINGS, Setting};
use super::value::default_text;

const CONFIG: &str = "config";

/// What was given on the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    /// The settings file.
    pub(super) config: Option<PathBuf>,
    /// Settings and their values as text.
    pub(super) given: Vec<(Setting, String)>,
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Settings file, TOML; also by LEVERET_CONFIG. None is read unless named");
        command.arg(config).args(SETTINGS.iter().map(arg)).next_line_help(true)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = SETTINGS.iter().filter_map(|setting| {
            matches.get_one::<String>(setting.key).map(|text| (*setting, text.clone()))
        });
        Ok(Self { config: matches.get_one(CONFIG).cloned(), given: given.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn arg(setting: &Setting) -> Arg {
    let help = match default_text(setting.key) {
        Some(default) => format!("{} [default: {default}]", setting.help),
        None => setting.help.to_owned(),
    };
    Arg::new(setting.key).long(setting.flag()).value_name(setting.value_name).help(help)
}
