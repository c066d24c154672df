"""Telling people that they are asked, and that something was stopped: webhooks, Slack, mail.

    settings    what the operator wrote: channels, and routes to them
    notices     what there is to tell, read from the cells of oversight
    message     what is said of it: as little as possible, and harmless wherever it is shown
    channels    `webhook`, `slack`, `mail`: how it gets there
    outbox      one cell for each notice and channel, so that each is sent at least once, and by one process
    notifier    one thread a channel

It lives with the console because a message is a link into it, and because only the console's process speaks to others:
a guard commits that somebody is asked, and never waits for, or fails by, anybody's mail server.
"""
