//! The demo from start to end.

use std::io::Write;
use std::sync::Arc;

use leveret_management::Logs;

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
    let logs = log::start(filter);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::run(format!("cannot start: {error}")))?;
    runtime.block_on(demo(options, logs))
}

async fn demo(options: &Options, logs: Arc<Logs>) -> Result<(), Failure> {
    let mut stop = StopRequests::listen()
        .map_err(|error| Failure::run(format!("cannot listen for signals: {error}")))?;
    let story = Story::begin();
    let stage = Stage::set_up(options, &story, logs).await?;
    story.tell(format!("The broker is at {}", stage.amqp_url()));
    story.tell(format!(
        "Sign-up is up at {}, company A at {}, company B at {}, orders at {}",
        stage.signup.url(),
        stage.a.url(),
        stage.b.url().await,
        stage.orders.url()
    ));
    let toured = tokio::select! {
        toured = tour::walk(&stage, &story) => toured.map(|()| End::Toured),
        () = stop.next() => Ok(End::Stopped),
    };
    if !options.once && matches!(toured, Ok(End::Toured)) {
        invite(&stage).await;
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
async fn invite(stage: &Stage) {
    let mut places = vec![
        ("start here", stage.page.url()),
        ("sign-up", stage.signup.url()),
        ("company A", stage.a.url()),
        ("company B", stage.b.url().await),
        ("orders", stage.orders.url()),
        ("AMQP", stage.amqp_url()),
        ("mails", stage.mails.display().to_string()),
    ];
    places.extend(stage.management_url().map(|url| ("management", url)));
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "\nEverything stays up to be played with:");
    for (name, place) in places {
        let _ = writeln!(stdout, "  {name:12} {place}");
    }
    let _ = writeln!(stdout, "Ctrl-C ends it.");
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
