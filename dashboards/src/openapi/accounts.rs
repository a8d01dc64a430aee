//! Sessions, links and accounts.

use super::Operation;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation(
        "post",
        "/api/v1/session",
        "Begin a session: by a bearer token, or by an account's password and the code of its second factor.",
        &[],
        &[204, 400, 403, 429, 503],
    ),
    Operation(
        "get",
        "/api/v1/session",
        "Who the caller is, and what the role may.",
        &[],
        &[200],
    ),
    Operation("delete", "/api/v1/session", "End the session.", &[], &[204]),
    Operation(
        "post",
        "/api/v1/session/password",
        "Change the own account's password; its other sessions end.",
        &[],
        &[204, 400, 403, 429, 503],
    ),
    Operation(
        "post",
        "/api/v1/setup/look",
        "What a link is for, and the secret for the second factor.",
        &[],
        &[200, 400, 404],
    ),
    Operation(
        "post",
        "/api/v1/setup",
        "Set an account's password and second factor by a link, once, and begin a session.",
        &[],
        &[204, 400, 403, 404, 503],
    ),
    Operation(
        "get",
        "/api/v1/accounts",
        "Accounts of people within the caller's division and departments, by id.",
        &[],
        &[200, 403],
    ),
    Operation(
        "post",
        "/api/v1/accounts",
        "Make an account; the link that sets its password stands in this answer only.",
        &[],
        &[201, 400, 403, 409, 503],
    ),
    Operation(
        "get",
        "/api/v1/accounts/{id}",
        "One account.",
        &[],
        &[200, 403, 404],
    ),
    Operation(
        "patch",
        "/api/v1/accounts/{id}",
        "Change name, role, division, departments, or disable it.",
        &[],
        &[200, 400, 403, 404, 503],
    ),
    Operation(
        "delete",
        "/api/v1/accounts/{id}",
        "End an account and its sessions.",
        &[],
        &[204, 403, 404, 503],
    ),
    Operation(
        "post",
        "/api/v1/accounts/{id}/link",
        "A new link for who has lost password or second factor.",
        &[],
        &[201, 403, 404, 503],
    ),
    Operation(
        "post",
        "/api/v1/accounts/{id}/logout",
        "End the sessions of an account and their live streams.",
        &[],
        &[204, 403, 404, 503],
    ),
];
