"""One sign-in for all apps: a session of the server is continued on the host of an app.

The browser goes from `/_auth/sign-in` of the app's host to the console, and back with a code to
`/_auth/callback`. The cookie of the app's host then gives its pages access tokens of this app.
"""
