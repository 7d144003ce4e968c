package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/streadway/amqp"
)

const timeLimit = 2 * time.Minute

type step struct {
	name  string
	needs *bool
	why   string
	run   func(*amqp.Connection) error
}

func main() {
	address, noDelayed, deadLetters := arguments()
	time.AfterFunc(timeLimit, func() {
		fmt.Printf("go: FAILED: not done within %v\n", timeLimit)
		os.Exit(1)
	})
	conn, err := dial(address)
	if err != nil {
		fmt.Printf("go: Dial: FAILED: %v\ngo: 0 passed, 1 failed\n", err)
		os.Exit(1)
	}
	defer conn.Close()
	delayed := !noDelayed
	failed := walk(conn, []step{
		{name: "a clean start", run: cleanUp},
		{name: "queue, exchange, bind", run: declareAndBind},
		{name: "Confirm(false) and NotifyPublish", run: publishConfirmed},
		{name: "consume and Ack", run: consumeAndAck},
		{name: "mandatory and NotifyReturn with its MessageId", run: mandatoryReturned},
		{name: "unroutable without mandatory is dropped", run: unroutableDropped},
		{name: "delay by dead letters", run: bestOfThree(deadLetterDelay), needs: &deadLetters,
			why: "without --dead-letters"},
		{name: "x-delayed-message, failed once, delay doubled", run: bestOfThree(delayedRetry), needs: &delayed,
			why: "the broker has no x-delayed-message exchanges"},
		{name: "a clean end", run: cleanUp},
		{name: "Close", run: (*amqp.Connection).Close},
	})
	if failed > 0 {
		os.Exit(1)
	}
}

func walk(conn *amqp.Connection, steps []step) (failed int) {
	passed := 1 // Dial
	for _, step := range steps {
		if step.needs != nil && !*step.needs {
			fmt.Printf("go: %s: skipped, %s\n", step.name, step.why)
			continue
		}
		if err := step.run(conn); err != nil {
			failed++
			fmt.Printf("go: %s: FAILED: %v\n", step.name, err)
			continue
		}
		passed++
	}
	fmt.Printf("go: %d passed, %d failed\n", passed, failed)
	return failed
}

// dial builds the notes' DSN from the URL's parts.
func dial(address *url.URL) (*amqp.Connection, error) {
	password, _ := address.User.Password()
	dsn := fmt.Sprintf("amqp://%s:%s@%s:%s/", address.User.Username(), password, address.Hostname(), address.Port())
	return amqp.Dial(dsn)
}

func arguments() (address *url.URL, noDelayed, deadLetters bool) {
	flags := flag.NewFlagSet("notes", flag.ExitOnError)
	flags.BoolVar(&noDelayed, "no-delayed", false, "the broker has no x-delayed-message exchanges")
	flags.BoolVar(&deadLetters, "dead-letters", false, "the broker has x- queue arguments")
	usage := func() {
		fmt.Fprintln(os.Stderr, "usage: notes amqp://USER:PASSWORD@HOST:PORT [--no-delayed] [--dead-letters]")
		os.Exit(2)
	}
	flags.Usage = usage
	if len(os.Args) < 2 {
		usage()
	}
	address, err := url.Parse(os.Args[1])
	if err != nil || address.User == nil {
		usage()
	}
	flags.Parse(os.Args[2:])
	return address, noDelayed, deadLetters
}
