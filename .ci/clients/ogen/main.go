// Command ogen calls the server whose URL and token are its arguments through the client that ogen has generated, and prints
// what it reads.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"clients/ogen"
)

// token is what the generated client authorizes its requests with.
type token string

func (t token) Token(context.Context, ogen.OperationName) (ogen.Token, error) {
	return ogen.Token{Token: string(t)}, nil
}

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url, secret string) error {
	client, err := ogen.NewClient(url, token(secret))
	if err != nil {
		return err
	}
	const instance, posted, imported = "instance.id", "5544999999999", "5544888888888"
	day, next := ogen.NewOptString("2025-11-03T00:00:00Z"), ogen.NewOptString("2025-11-04T00:00:00Z")

	contact, err := as[*ogen.Contact](client.GetContact(ctx, ogen.GetContactParams{InstanceId: instance, Phone: posted}))
	if err != nil {
		return err
	}
	fmt.Println(contact.Phone, "is", contact.Status)

	timeline, err := as[*ogen.TimelineBody](client.GetTimeline(ctx, ogen.GetTimelineParams{
		InstanceId: instance, Phone: imported, From: day, To: next,
	}))
	if err != nil {
		return err
	}
	for _, s := range timeline.Spans {
		if s.End.Null {
			fmt.Printf("%s is %s since %s: %s\n", imported, s.Status, s.Start.Format(time.RFC3339), s.EndedBy)
			continue
		}
		fmt.Printf("%s was %s from %s to %s: %g s, %g s confirmed, %d events, %s\n", imported, s.Status,
			s.Start.Format(time.RFC3339), s.End.Value.Format(time.RFC3339), s.Seconds, s.ConfirmedSeconds, s.Events, s.EndedBy)
	}

	durations, err := as[*ogen.DurationsBody](client.GetContactDurations(ctx, ogen.GetContactDurationsParams{
		InstanceId: instance, Phone: imported, From: day, To: next,
	}))
	if err != nil {
		return err
	}
	write := func(what string, d ogen.Durations) {
		median := "null"
		if !d.MedianSeconds.Null {
			median = fmt.Sprintf("%g s", d.MedianSeconds.Value)
		}
		fmt.Printf("%s %d times, %g s, median %s\n", what, d.Count, d.Seconds, median)
	}
	write("typing", durations.Total.Typing)
	write("recording", durations.Total.Recording)
	write("in the chat", durations.Total.InChat)

	contacts, err := as[*ogen.ContactsBody](client.ListContacts(ctx, ogen.ListContactsParams{InstanceId: instance}))
	if err != nil {
		return err
	}
	var list []string
	for _, c := range contacts.Contacts {
		list = append(list, c.Phone+" "+string(c.Status))
	}
	fmt.Println("the list has", strings.Join(list, ", "))
	return nil
}

// as returns a response as the type of a success.
func as[T any](response any, err error) (success T, _ error) {
	if err != nil {
		return success, err
	}
	success, ok := response.(T)
	if !ok {
		return success, fmt.Errorf("the response is a %T: %+v", response, response)
	}
	return success, nil
}
