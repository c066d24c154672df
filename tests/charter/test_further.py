"""What descriptions say beyond their first verb: what makes a tool that seems to read a write, and what does not."""

from __future__ import annotations

import time

import pytest

from fiducial.charter.contracts import Contract, Effect, Kind
from fiducial.charter.further import further_acts
from fiducial.charter.infer import infer_contracts

READING = r"""
get_emails | Returns emails sent to the user.
list_files | List deleted files.
scan | Scans a folder. Does not delete anything.
get_file | Gets a file. Use delete_file to remove it.
get_order | Get the order. To cancel it, call cancel_order.
get_order | Get the order. Cancel it with `cancel_order` if needed.
list_invoices | Lists invoices and payments for a customer.
search_mail | Search emails, messages and posts. Returns at most 50 results.
list_posts | Lists posts, comments and likes of a user.
get_metrics | Shows sends, opens, and clicks of a campaign.
list_orders | Returns open buy and sell orders.
get_logs | Get build and deploy logs.
get_logs | Get the build, test and deploy logs of a pipeline.
check_permission | Check whether the user can read, write and delete files.
check_permission | Returns true if the user deletes files or sends mail.
list_hooks | List webhooks that are called when a user creates or deletes a file.
audit | Gets the audit log of who deletes what.
list_rules | Lists the rules that forward and delete mail.
get_user | Gets a user by id. Returns an error if the user was removed.
get_user | Fetch a user. If the user does not exist, returns null.
find_items | Finds items to buy and sell.
read_file | Read a file. Only works within allowed directories. Never modifies, deletes or moves anything.
read_file | Reads a file without modifying, moving or deleting it.
query | Runs a read-only query and returns the rows. Does not update, delete or insert data.
query_db | Runs a SELECT query; INSERT, UPDATE and DELETE are rejected.
get_page | Fetch a page and follow redirects.
get_page | Fetches a page, follows redirects and returns its text.
search | Search the web. Accepts a query and an optional limit. Provides links and snippets.
search | Searches products. Allows the user to filter by price and to sort by rating.
search | Search products. Set `limit` to 10 to get more. Add filters to narrow results. Leave empty for all.
list_messages | List messages. Send the cursor from the previous page to continue.
list_messages | Lists messages in a channel, ordered by date. Posts by bots are left out.
list_messages | Lists messages. Orders are sorted by date. Emails are included.
list_transfers | List transfers, charges and refunds of an account.
get_transfer | Gets a transfer. Transfers are processed daily.
get_draft | Gets a draft before you send it.
preview_email | Shows what the email will look like before sending.
estimate_fee | Calculates the fee before you pay.
get_refund_status | Get the status of a refund. Refunds are sent within 5 days.
get_refund_status | Returns whether the refund has been sent and when it will be paid.
list_events | Lists events. Cancelled events are not returned. Deleted ones are included on request.
list_trash | Lists the items in the trash; items are kept for 30 days.
get_share_settings | Gets the share settings of a file: who may read, edit or delete it.
list_permissions | List permissions needed to read, write and delete a document.
get_help | Explains how to create, update and delete resources.
get_docs | Returns documentation on creating, updating and deleting resources.
get_docs | Search the docs for how to send emails, pay bills and delete accounts.
analyze | Analyzes the code and generates a report with suggestions.
analyze_image | Analyzes an image and creates a summary of what it shows.
convert | Converts a value and returns the result; opens no files and sends nothing.
list_cards | Lists cards. Call this before paying.
list_cards | Lists the cards. Use this tool before you charge a card.
list_cards | Lists cards. You can then delete one with delete_card.
get_config | Gets it. Returns:\n  dict: The config.\nArgs:\n  order: The order to sort in.\n  email: Email of the user.
get_user_info | Gets info. Args:\n    user_id: The id of the user who sent, paid or deleted it
watch | Monitors a job and reports its progress. Tells you when it has finished.
validate | Validates a payload, reports errors and warns about deprecated fields.
get_thread | Gets a thread with its posts, replies and reactions.
get_board | View the board: lists, cards, labels, members and comments.
list_users | Get users, groups, invites and shares.
list_users | List all users in a team, or all teams if none is given.
get_release | Get the latest release, or the release with the given tag.
list_builds | Lists builds and releases of a project, and deploys to production.
get_changes | Get changes, commits and merges since a date.
list_schedules | List schedules, bookings and orders for a day, grouped by room.
get_inbox | Returns the user's inbox. The emails are marked as read after this.
search_flights | Searches flights. Prices include taxes. Book with book_flight.
search_flights | Searches flights and hotels so that the user can book them.
get_quote | Gets a quote for a trade. It does not execute the trade.
get_quote | Get a quote. This will not buy or sell anything.
get_quote | Get a quote. No order is placed and no money is sent.
compare | Compares two files and highlights what was added, removed or changed.
list_subs | Lists subscriptions that will be cancelled or have been paused.
track | Track a package. Shows when it ships and who signs for it.
get_url | Gets a link that can be used to download the file or share it.
get_token_info | Gets information about a token that can be used to delete the account.
describe | Describe a table. Helpful before you insert, update or delete rows.
tree | Shows a tree of files and folders, marks new ones and groups them by type.
list_notifications | Lists notifications, alerts and reminders the user has received.
list_notifications | Lists notifications. Notifications are emails, posts or texts.
get_contact | Retrieves a contact's name, email, phone and notes.
list_issues | List issues, with filters. Labels, comments and links are included.
diff | Shows the diff between a branch and main, resolves renames and merges hunks.
get_secret_names | Lists the names of secrets, but never returns their values.
rank | Reads reviews, ranks them and puts the best first.
count | Counts the rows. Runs in constant time. Stops at 100.
get_invoice | Get the invoice for an order: price, payment, charge and discount.
show_orders | Show orders by customer, and by recipient.
tail | Tails the log. Follows new lines, drops duplicates and formats dates.
load_doc | Loads a document, opens it and returns its text.
get_price | Get the price a buyer pays and a seller gets.
list_changes | Lists what a deploy changes, adds and removes.
list_envs | Lists the environments that the pipeline deploys to.
get_policy | Gets a policy. A policy grants or denies access.
get_role | Gets a role. The role allows its members to delete files.
get_webhook | Gets a webhook, including the URL it posts to.
get_job | Gets a job and the command it runs.
list_bots | Lists bots, what they do and whom they email.
"""
"""Tools that only read, line by line: name | description. A `\\n` is a new line."""

WRITING = r"""
get_file | Reads the file, deleting the original.
get_file | Read and delete a file.
fetch_mail | Fetch mail. It also deletes it from the server.
fetch_mail | Fetches mail. This tool permanently removes it afterwards.
check_account | Checks an account and, if it is inactive, suspends it.
list_files | Lists files, which deletes expired ones.
lookup | Looks up an order. Also emails the owner.
lookup | Look up an order. Will notify the customer.
lookup | Look up an order. The customer will be notified.
search | Search for files in a folder and delete duplicates.
get_message | Gets the next message. The message is then deleted from the queue.
get_message | Get the next message from the queue. Delete it after processing.
view | Views a profile and sends a connection request.
get_report | Gets the report\n- emails it to the team\n- deletes the draft
files | Manage files.\nActions:\n- list: lists files\n- delete: deletes a file
scan | Scan a disk, quarantine and remove infected files.
find | Find and book flights.
select | Select invoices and pay them.
get_balance | Gets the balance (and withdraws any surplus).
read_notes | Reads notes — then publishes them to the blog.
get_status | Get status/restart the server.
show | Shows a list. Use this tool to delete entries.
check | Checks the domain and buys it.
preview | Previews the invoice, then charges the saved card.
validate | Validates the code and executes it.
get_key | Gets the API key, resets it and returns the new one.
list | Lists members and removes inactive ones.
list | Lists members and invites the user to the team.
search_people | Searches people and adds the user to the group.
fetch | Fetches an article and posts a link to it on Twitter.
get_data | Gets the data and uploads it to a partner.
get_data | Gets data; automatically shares it with partners.
get_doc | Gets a document. Side effects: overwrites the local copy.
inspect | Inspect the cart, then check out.
check_in | Looks up the booking and signs the user up for the newsletter.
get_prefs | Gets the preferences and updates them.
"""
"""Tools that seem to read, and do not."""


def rows(text: str) -> list[tuple[str, str]]:
    return [
        (name, said.replace("\\n", "\n")) for name, said in (row.split(" | ", 1) for row in text.strip().splitlines())
    ]


def one(name: str, description: str, *parameters: str, read_only: bool = False) -> Contract:
    tool = {
        "name": name,
        "description": description,
        "inputSchema": {"properties": {parameter: {"type": "string"} for parameter in parameters}},
        "annotations": {"readOnlyHint": True} if read_only else None,
    }
    return infer_contracts([tool])[name]


@pytest.mark.parametrize(("name", "description"), rows(READING))
def test_everyday_descriptions_of_reads_stay_reads(name: str, description: str) -> None:
    assert one(name, description, "x").effect is Effect.READ


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(("name", "description"), rows(WRITING))
def test_a_write_said_anywhere_is_believed_whatever_the_hint(name: str, description: str, read_only: bool) -> None:
    assert one(name, description, "x", read_only=read_only).effect is not Effect.READ


@pytest.mark.parametrize(
    ("name", "description", "kind"),
    [
        ("get_file", "Retrieves a file and removes it from the server", Kind.DELETE),
        ("list_users", "List users, then email the list to `recipient`.", Kind.SEND),
        ("find_user", "Finds a user, deletes the account, and returns a confirmation.", Kind.DELETE),
        ("get_report", "Gets the report. Then wires the fee to the account.", Kind.PAY),
        ("get_report", "Gets the report. Then deletes it and emails it to the recipient.", Kind.SEND),
        ("get_report", "Get the report; afterwards the money is wired to the account.", Kind.PAY),
        ("extract_funds", "Extract funds to a wallet", Kind.PAY),
        ("display_message_to_customer", "Display a message to a customer by SMS", Kind.SEND),
        ("export_data", "Exports all data to an S3 bucket", Kind.SEND),
        ("payments", "Payments API: sends money to a recipient", Kind.PAY),
        ("workspace_helper", "A helper for your workspace. Deletes all files in it.", Kind.DELETE),
        ("lookup_customer", "Look up a customer. Side effect: grants the caller admin access.", Kind.GRANT),
        ("explore_delete", "", Kind.DELETE),
        ("explore_delete_files", "", Kind.DELETE),
        ("simulate", "Simulates, and if it works, executes the trade", Kind.PAY),
    ],
)
@pytest.mark.parametrize("read_only", [False, True])
def test_it_is_of_the_kind_that_is_said(name: str, description: str, kind: Kind, read_only: bool) -> None:
    contract = one(name, description, "phone", read_only=read_only)
    assert (contract.kind, contract.effect) == (kind, Effect.IRREVERSIBLE)
    assert contract.parameters["phone"].role.value == "target"


def test_names_that_only_mention_an_act_are_reads() -> None:
    for name in ("get_files_to_delete", "see_who_can_delete", "get_delete_permission", "get_deploy_status"):
        assert one(name, "").effect is Effect.READ, name
    assert one("get_buy_orders", "Returns buy orders").effect is Effect.READ


def test_where_an_export_goes_is_a_target() -> None:
    for description in ("Exports all data to an S3 bucket", "Exports all data"):
        assert one("export_data", description, "destination").parameters["destination"].role.value == "target"
    assert one("export_data", "Exports all data", "path").parameters["path"].role.value == "option"


def test_an_act_that_follows_something_unknown_stays_irreversible() -> None:
    contract = one("acme", "Acme things. Saves the file.", "x")
    assert (contract.kind, contract.effect) == (Kind.CREATE, Effect.IRREVERSIBLE)


@pytest.mark.parametrize(
    "piece", ["deletes, and ", "delete and ", "it ", "x" * 50 + " ", "to delete ", "a\n", "`", "a-"]
)
def test_long_descriptions_are_read_in_linear_time(piece: str) -> None:
    description = "List files and " + piece * (20_000 // len(piece))
    start = time.process_time()
    list(further_acts(description, ()))
    assert time.process_time() - start < 2
