//! The routes under `/api`: a file for each kind of object. A route says what it is for where it is made, and the OpenAPI
//! document is made from the same list.

mod bindings;
mod connections;
mod definitions;
mod delayed;
mod exchanges;
mod health;
mod logs;
mod moving;
mod overview;
mod permissions;
mod policies;
mod queues;
mod ranking;
mod users;
mod vhosts;

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use tokio::time::timeout;

use crate::App;
use crate::error::Refusal;
use crate::ui::{self, session};
use crate::{body, metrics, openapi, origin, unread};

/// A route of the API.
pub(crate) struct Route {
    /// Below `/api`, parameters in braces.
    pub(crate) path: &'static str,
    pub(crate) method: Method,
    /// What it does, in a few words.
    pub(crate) summary: &'static str,
    handler: MethodRouter<App>,
}

macro_rules! methods {
    ($($name:ident $method:ident;)*) => {
        $(pub(crate) fn $name<H, T>(path: &'static str, summary: &'static str, handler: H) -> Route
        where
            H: Handler<T, App>,
            T: 'static,
        {
            Route { path, method: Method::$method, summary, handler: on(MethodFilter::$method, handler) }
        })*
    };
}

methods! {
    get GET;
    put PUT;
    post POST;
    delete DELETE;
}

/// All routes.
pub(crate) fn routes() -> Vec<Route> {
    let mut routes = overview::routes();
    routes.extend(connections::routes());
    routes.extend(exchanges::routes());
    routes.extend(queues::routes());
    routes.extend(bindings::routes());
    routes.extend(vhosts::routes());
    routes.extend(users::routes());
    routes.extend(permissions::routes());
    routes.extend(policies::routes());
    routes.extend(definitions::routes());
    routes.extend(delayed::routes());
    routes.extend(health::routes());
    routes.extend(moving::routes());
    routes.extend(logs::routes());
    routes.extend(session::routes());
    routes.push(get("/openapi.json", "This description", openapi::show));
    routes
}

/// 201 for what was not there before, 204 for what was.
pub(crate) fn made(is_new: bool) -> StatusCode {
    if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT }
}

/// Everything that is served. `limit` is how long a request may take, its body's coming in included.
pub(crate) fn router(app: App, limit: Duration) -> Router {
    // RabbitMQ takes no notice of a slash at the end.
    let api = routes().into_iter().fold(Router::new(), |api, route| {
        api.route(&format!("{}/", route.path), route.handler.clone()).route(route.path, route.handler)
    });
    let api = api
        .fallback(async || Refusal::NotFound)
        .method_not_allowed_fallback(async || StatusCode::METHOD_NOT_ALLOWED);
    let all = Router::new()
        .nest("/api", api)
        .merge(metrics::router())
        .merge(ui::router())
        .fallback(async || Refusal::NotFound)
        .with_state(app);
    // One in the other, because the methods that a path allows are added to an answer last.
    Router::new().fallback_service(all).layer(middleware::from_fn_with_state(limit, guard))
}

/// The answer to `OPTIONS`, for which there are no routes: what the path knows stands in the answer that it does not know this.
fn say_what_is_allowed(response: &mut Response) {
    let Some(allowed) = response.headers().get(header::ALLOW).and_then(|methods| methods.to_str().ok())
    else {
        return;
    };
    if let Ok(allowed) = HeaderValue::from_str(&format!("{allowed},OPTIONS")) {
        response.headers_mut().insert(header::ALLOW, allowed);
        *response.status_mut() = StatusCode::OK;
    }
}

/// Refuses what other sites have a browser ask for, ends requests that take too long, and tells caches and browsers what
/// an answer is.
async fn guard(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let is_question = request.method() == Method::OPTIONS;
    let (request, body) = unread::watch(request);
    let answer = async {
        let request = body::with_small(request).await;
        match origin::check(request.method(), request.headers()) {
            Ok(()) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        }
    };
    let answer = timeout(limit, answer).await;
    let mut response = answer.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response());
    body.announce(&mut response, limit);
    if is_question {
        say_what_is_allowed(&mut response);
    }
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
