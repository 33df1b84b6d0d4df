// Command oapi-codegen calls the server whose URL and token are its arguments through the client that oapi-codegen has
// generated, and prints what it reads.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"clients/oapi"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url, token string) error {
	client, err := oapi.NewClientWithResponses(url, oapi.WithRequestEditorFn(func(_ context.Context, req *http.Request) error {
		req.Header.Set("Authorization", "Bearer "+token)
		return nil
	}))
	if err != nil {
		return err
	}
	const instance, posted, imported = "instance.id", "5544999999999", "5544888888888"
	day, next := "2025-11-03T00:00:00Z", "2025-11-04T00:00:00Z"

	contact, err := client.GetContactWithResponse(ctx, instance, posted)
	if err != nil || contact.JSON200 == nil {
		return errors.Join(err, fmt.Errorf("contact: %s", contact.Body))
	}
	fmt.Println(contact.JSON200.Phone, "is", contact.JSON200.Status)

	timeline, err := client.GetTimelineWithResponse(ctx, instance, imported, &oapi.GetTimelineParams{From: &day, To: &next})
	if err != nil || timeline.JSON200 == nil {
		return errors.Join(err, fmt.Errorf("timeline: %s", timeline.Body))
	}
	for _, s := range timeline.JSON200.Spans {
		if s.End == nil {
			fmt.Printf("%s is %s since %s: %s\n", imported, s.Status, s.Start.Format(time.RFC3339), s.EndedBy)
			continue
		}
		fmt.Printf("%s was %s from %s to %s: %g s, %g s confirmed, %d events, %s\n", imported, s.Status,
			s.Start.Format(time.RFC3339), s.End.Format(time.RFC3339), s.Seconds, s.ConfirmedSeconds, s.Events, s.EndedBy)
	}

	durations, err := client.GetContactDurationsWithResponse(ctx, instance, imported, &oapi.GetContactDurationsParams{From: &day, To: &next})
	if err != nil || durations.JSON200 == nil {
		return errors.Join(err, fmt.Errorf("durations: %s", durations.Body))
	}
	total := durations.JSON200.Total
	write := func(what string, d oapi.Durations) {
		median := "null"
		if d.MedianSeconds != nil {
			median = fmt.Sprintf("%g s", *d.MedianSeconds)
		}
		fmt.Printf("%s %d times, %g s, median %s\n", what, d.Count, d.Seconds, median)
	}
	write("typing", total.Typing)
	write("recording", total.Recording)
	write("in the chat", total.InChat)

	contacts, err := client.ListContactsWithResponse(ctx, instance, &oapi.ListContactsParams{})
	if err != nil || contacts.JSON200 == nil {
		return errors.Join(err, fmt.Errorf("contacts: %s", contacts.Body))
	}
	var list []string
	for _, c := range contacts.JSON200.Contacts {
		list = append(list, c.Phone+" "+string(c.Status))
	}
	fmt.Println("the list has", strings.Join(list, ", "))
	return nil
}
