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
get_ticket | Retrieves a support ticket including its status, assignee and the last reply sent to the customer.
list_branches | Lists branches in a repository. Supports pagination via page and per_page.
get_commit | Returns a single commit. Merge commits have two parents.
list_jobs | List all jobs. Jobs that failed can be restarted with restart_job.
get_balance | Returns your balance. Withdrawals that are pending are subtracted.
read_resource | Reads a resource from the server and returns its contents. The resource must exist.
search_contacts | Search contacts by name, email or phone. Matches are ranked by relevance.
get_calendar | Gets calendar events between two dates. Recurring events are expanded.
get_deployments | Lists deployments of an app and their status (queued, running, failed).
list_invites | List pending invites. An invite expires after 7 days.
get_schema | Returns the JSON schema used to validate messages before they are published.
get_price_history | Gets price history. Useful when deciding whether to buy or sell.
list_accounts | Lists accounts you can transfer money to.
get_limits | Gets your limits: how much you may send, withdraw or spend per day.
find_similar | Finds similar documents using embeddings and returns the top matches.
get_weather_alerts | Get weather alerts for a US state.
list_alarms | Returns alarms, triggers and actions.
explain_query | Explains the plan of a query without executing it.
lint | Checks the code for errors, warns about style and suggests fixes.
get_user_orders | Fetches the orders a user has placed, cancelled or returned.
list_subscribers | Returns subscribers who opened, clicked or unsubscribed.
get_file_history | Returns who created, renamed, moved or deleted a file and when.
dry_run | Simulates a deploy and shows what it would change.
get_payment_methods | Returns the saved payment methods. Use add_payment_method to add one.
search_logs | Searches logs. Accepts filters, groups results by host and returns counts.
get_channel | Gets a channel. If the bot is not a member, an error is returned and nothing is posted.
wait_for_job | Waits until the job finishes, then returns its result.
poll_status | Polls the status every second and stops when the job is done.
get_template | Gets the email template that is used when an order ships.
read_clipboard | Reads the clipboard and returns text, html or image data.
explain_plan | Explains how to save money by cancelling subscriptions.
parse | Parses a date; raises an error if it cannot.
git_status | Shows the working tree status
git_log | Shows the commit logs, with optional date filtering and the author of each commit
git_diff | Shows differences between branches or commits, comparing the target to the current branch
git_show | Shows the contents of a commit, including the diff and the message
git_blame | Shows who last changed each line of a file, and the commit in which they did
get_pull_request_status | Get the combined status of all status checks for a pull request before merging
search_code | Find patterns in your code across GitHub repositories using GitHub's code search syntax
tavily_search | Searches the web and ranks the results by relevance, optionally returning raw content.
semantic_search | Embeds the query and finds the nearest documents, scoring them by cosine similarity.
search_docs | Search the documentation by keyword. Supports fuzzy matching and highlights the matched terms.
list_events | Lists calendar events between two times, expanding recurring events and sorting them by start.
get_free_busy | Returns when the attendees are free or busy, taking their working hours into account.
find_meeting_times | Suggests times for a meeting by comparing the calendars of all attendees.
get_event | Gets an event with its attendees, location and reminders the organizer has set.
list_calendars | Lists the calendars the user can access and their colors.
search_contacts | Search contacts by name, email or phone number and return the best matches.
get_deal | Retrieve a deal including its stage, amount, owner and the company it belongs to.
list_opportunities | Lists open opportunities with their expected close dates, grouped by owner.
get_account_summary | Summarizes an account: recent activity, open cases and the contacts an agent should know.
get_customer | Looks up a customer by email; throws an error if more than one matches.
query_crm | Query CRM records using SOQL. Respects the user's field-level security and truncates long fields.
list_tables | Lists all tables in the database, with row counts and a short description of each.
describe_table | Returns the columns of a table, their types and the constraints the table has.
read_query | Execute a SELECT query on the SQLite database
explain | Explains the plan a query would use, without running it.
get_schema | Introspects the database and outputs the schema as JSON, omitting system tables.
run_readonly_query | Validates that the query is a SELECT, then returns up to 100 rows as CSV.
fetch | Fetches a URL from the internet and optionally extracts its contents as markdown.
fetch_html | Fetches a website and returns the content as HTML, following redirects and respecting robots.txt.
get_transcript | Downloads the captions of a video and joins them into plain text.
get_page_text | Loads the page in a headless browser, waits for the network to be idle and returns the visible text.
extract_links | Parses a page and collects the links it contains, removing duplicates and resolving relative URLs.
get_weather | Gets the current weather for a city, converting temperatures to the requested unit.
get_logs | Tails a pod's logs and streams them until the timeout is reached.
get_metrics | Aggregates metrics over a window, interpolating the missing points.
summarize_thread | Reads a thread and condenses it to the key points, preserving the order of the messages.
check_availability | Checks room availability. Call this before booking a room.
diff_files | Compares two files by normalizing whitespace and hashing each line.
list_users | List users and groups the caller can see, along with the roles they have.
get_settings | Gets settings and preferences the user has chosen.
search_events | Search for events and perform counts/aggregations.
list_customers | This tool will fetch a list of Customers from Stripe. It takes two arguments: limit and email.
list_products | This tool will fetch a list of Products from Stripe. It takes one optional argument.
getJiraIssue | Get the details of a Jira issue by issue id or key.
list_drive_files | Lists files in Drive and the people they are shared with.
validate_json | Validates a JSON document against a schema and pinpoints the errors.
list_appointments | Lists the patient's appointments, marking the ones that overlap.
list_pods | Lists pods in the current namespace; shows their phase, restarts and the node they run on.
search_papers | Searches arXiv, dedupes the hits and sorts them by date.
get_citations | Collects the papers that cite a paper by following its DOI.
get_config | Reads the configuration, merging the defaults with the user's overrides.
get_env | Gets the environment, masking secrets and tokens.
get_diff | Computes the diff by hashing blocks, then aligning the lines.
find_free_slots | Finds free slots by checking the calendars, while respecting working hours.
get_quote | Gets a quote, applying the customer's discount.
search_jobs | Searches jobs and filters out those the candidate has seen.
get_holdings | Gets holdings and values them at the latest close.
list_tools | Lists the tools this server offers and what each one does.
get_voice | Transcribes audio and returns text; long files are split and processed in parts.
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
get_invoice | Downloads the invoice and forwards it to accounting.
list_stale | Lists stale branches and, unless dry_run is set, deletes them.
lookup_customer | Looks up a customer, creating one if missing, and sends a welcome email.
read_config | Reads the config, rewrites it and restarts the service.
get_link | Gets a link to the file. Anyone with the link is granted access. It also shares the folder with the public.
check_balance | Checks the balance. If it is too low, transfers money from savings.
search_tweets | Search tweets and retweet the best one.
get_quote | Gets a quote and places the order at once.
view_ticket | View a ticket. Viewing it will notify the requester. It will close the ticket.
sync_list | Lists contacts; new ones get an invitation email: invites every contact.
summarize | Summarizes a thread and posts the summary to #general.
get_token | Gets a token. Revokes all earlier ones.
analyze_logs | Analyze logs and restart failing services.
show_device | Show the device and wipe it.
list_sessions | List sessions. This operation terminates all other sessions.
fetch_report | Fetches the report, emailing it to the given address.
find_duplicates | Finds duplicates and merges the accounts.
read_sensor | Reads the sensor and unlocks the door.
get_otp | Retrieves the code, then logs in and changes the password.
read_mail | Reads emails and deletes them.
read_posts | Gets posts and comments and removes those older than a day.
list_drafts | Lists drafts, publishes them and archives the rest.
check_domain | Checks whether a domain is free by purchasing it.
check_card | Checks how a card behaves by charging it.
view_voucher | Views a voucher, thereby deleting it.
get_number | Returns the next number and increments the counter.
validate_card | Validates a card by charging 1 USD.
compare | Compares two files and merges the result into the first.
lookup_customer | Look up customer and if missing sign them up.
get_balance | Gets balance / tops it up when low.
get_w | Gets w. Don't call twice: the second call overwrites the store.
get_t | Gets t while shutting the server down.
get_z | Get z. Ends with terminating the instance.
fetch_messages | Fetches unread messages, marking them as read.
poll | Polls once, acknowledging everything returned.
ping_user | Pings the user
validate_iban | Validates an IBAN by transferring one cent to it.
check_domain | Checks a domain by purchasing it.
get_report | Gets the report, deleting it afterwards.
verify_user | Verifies the user by emailing them a code.
get_x | Fetches rows through deleting them.
get_x | Gets rows via purging the cache.
get_x | Gets the mail while forwarding copies to a partner.
get_x | Lists the accounts, charging users for it.
get_x | Lists files that are not used, deleting them.
get_x | Gets the row after resetting its counter.
get_x | Lists drafts, reading each and sending it.
get_x | Reads a page by clicking it.
get_x | Reads a file; every call erases the oldest row.
get_x | Gets the lamp, turning it off.
get_x | Gets the lamp and turns the lights off.
find_x | Finds stale leases, evicts them.
get_x | Gets the case by reassigning it to you.
get_x | Returns the page; publishes it too.
"""
"""Tools that seem to read, and do not."""

UNKNOWN = r"""
inspect | Inspects and repairs the volume.
get_token | Returns a fresh API token, invalidating the old one.
read_sensor | Reads a sensor & recalibrates it.
preview_email | Shows the email, then fires it off.
get_u | Gets u, before unpublishing it.
show_logs | Shows logs, rolling them over.
get_lock | Acquires the lock.
get_a | Gets the profile, then flips it.
get_a | Gets the profile and, when needed, rehydrates it.
read_x | Reads the queue. Afterwards reindexes the store.
check_x | This tool inspects and heals nodes.
check_x | Inspect and repair volumes.
check_x | A tool that repairs the volume.
check_x | Use this tool to repair the volume.
check_x | It will recalibrate the sensor.
get_lock | Acquire the lock.
get_x | Summarizes the inbox and tidies it.
search_x | Searches and reformats the disk.
get_x | Reads the meter & zeroes it.
view_x | Views the story (and bumps its counter).
"""
"""Tools of which a verb is said that no list holds: it may be the end of whatever they read."""


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


@pytest.mark.parametrize(("name", "description"), rows(UNKNOWN))
def test_a_verb_that_nobody_knows_is_no_read_unless_the_hint_says_so(name: str, description: str) -> None:
    assert one(name, description, "x").effect is Effect.IRREVERSIBLE
    assert one(name, description, "x", read_only=True).effect is Effect.READ


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
        ("validate_card", "Validates a card by charging 1 USD.", Kind.PAY),
        ("validate_iban", "Validates an IBAN by transferring one cent to it.", Kind.PAY),
        ("ping_user", "Pings the user", Kind.SEND),
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
