// Package browser has Chromium look at the status page: of real agents, on a real
// API server, as a reader would see it. It looks for what no reading of the HTML
// shows: that the stylesheet is let in by the page's own policy and nothing else
// is asked for, that nothing complains in the console, and that the page fits on
// a narrow screen. The pictures of docs/status-page.md are taken here too.
//
// It is a module of its own because of what drives the browser.
package browser
