//! The demo from start to end.

use std::io::Write;

use super::options::Options;
use super::stage::Stage;
use super::story::Story;
use super::tour;
use crate::failure::Failure;
use crate::log;
use crate::stop::StopRequests;

/// Runs the demo until its tour is over (`--once`), or until it is asked to stop.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let filter = log::parse(&options.log).map_err(|problem| Failure::usage(format!("--log: {problem}")))?;
    log::start(filter);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::run(format!("cannot start: {error}")))?;
    runtime.block_on(demo(options))
}

async fn demo(options: &Options) -> Result<(), Failure> {
    let mut stop = StopRequests::listen()
        .map_err(|error| Failure::run(format!("cannot listen for signals: {error}")))?;
    let story = Story::begin();
    let stage = Stage::set_up(options, &story).await?;
    story.tell(format!("The broker is up: {}", stage.amqp_url()));
    story.tell(format!("The sign-up system is up: {}", stage.signup.url()));
    let toured = tokio::select! {
        toured = tour::walk(&stage, &story) => toured.map(|()| End::Toured),
        () = stop.next() => Ok(End::Stopped),
    };
    if !options.once && matches!(toured, Ok(End::Toured)) {
        invite(&stage);
        stop.next().await;
    }
    tokio::select! {
        () = stage.take_down() => {}
        () = stop.next() => {}
    }
    verdict(options, &toured?, &story)
}

/// How the tour ended.
enum End {
    Toured,
    Stopped,
}

/// Says what there is to play with. Whoever closed stdout does not want to know.
fn invite(stage: &Stage) {
    let _ = writeln!(
        std::io::stdout(),
        "\nEverything stays up to be played with:\n  start here   {}\n  sign-up      {}\n  AMQP         {}\n  mails        {}\nCtrl-C ends it.",
        stage.page.url(),
        stage.signup.url(),
        stage.amqp_url(),
        stage.mails.display(),
    );
}

fn verdict(options: &Options, end: &End, story: &Story) -> Result<(), Failure> {
    match (end, story.wrong_count()) {
        (End::Stopped, _) if options.once => Err(Failure::run("stopped before the tour was over")),
        (End::Toured, wrong) if options.once && wrong > 0 => {
            Err(Failure::run(format!("the tour did not go as it should: {wrong} checks failed")))
        }
        _ => Ok(()),
    }
}
