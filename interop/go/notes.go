// Walks through the notes that Leveret started from, step by step, with the notes' own client
// (github.com/streadway/amqp), names and flags. Each step is one check.
package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/streadway/amqp"
)

const (
	exchangeUser      = "interop.UserExchange"
	exchangeUserDelay = "interop.UserDelayExchange"
	routerKeyUserReg  = "userreg"
	queueUser         = "interop.UserQueue"
	queueUserDelayed  = "interop.UserQueue.delayed"
	exchangeDead      = "interop.DeadExchange"
	queueWaiting      = "interop.UserQueue.waiting"
	queueDead         = "interop.UserQueue.dead"

	firstDelay  = 3000 * time.Millisecond
	lateAtMost  = 100 * time.Millisecond
	answerLimit = 20 * time.Second
)

// mq is the notes' struct: a channel and what it notifies.
type mq struct {
	channel       *amqp.Channel
	notifyConfirm chan amqp.Confirmation
	notifyReturn  chan amqp.Return
}

func newMQ(conn *amqp.Connection) (*mq, error) {
	channel, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	return &mq{channel: channel}, nil
}

// declareAndBind is the notes' three steps: declare the queue, create the exchange, bind the key.
func declareAndBind(conn *amqp.Connection) error {
	this, err := newMQ(conn)
	if err != nil {
		return err
	}
	defer this.channel.Close()
	if _, err := this.channel.QueueDeclare(queueUser, false, false, false, false, nil); err != nil {
		return err
	}
	if err := this.channel.ExchangeDeclare(exchangeUser, "direct", false, false, false, false, nil); err != nil {
		return err
	}
	return this.channel.QueueBind(queueUser, routerKeyUserReg, exchangeUser, false, nil)
}

// publishConfirmed turns on confirm mode, publishes, and waits for this.notifyConfirm.
func publishConfirmed(conn *amqp.Connection) error {
	this, err := newMQ(conn)
	if err != nil {
		return err
	}
	defer this.channel.Close()
	if err := this.channel.Confirm(false); err != nil {
		return err
	}
	this.notifyConfirm = this.channel.NotifyPublish(make(chan amqp.Confirmation))
	if err := this.send(exchangeUser, routerKeyUserReg, "1234", amqp.Publishing{}); err != nil {
		return err
	}
	select {
	case confirm := <-this.notifyConfirm:
		if !confirm.Ack || confirm.DeliveryTag != 1 {
			return fmt.Errorf("confirm is %+v", confirm)
		}
		return nil
	case <-time.After(answerLimit):
		return errors.New("no confirm")
	}
}

// consumeAndAck receives what was published, works on it, and acknowledges it.
func consumeAndAck(conn *amqp.Connection) error {
	this, err := newMQ(conn)
	if err != nil {
		return err
	}
	defer this.channel.Close()
	messages, err := this.channel.Consume(queueUser, "c1", false, false, false, false, nil)
	if err != nil {
		return err
	}
	message, err := next(messages, answerLimit)
	if err != nil {
		return err
	}
	if string(message.Body) != "1234" || message.Redelivered {
		return fmt.Errorf("message is %q, redelivered %v", message.Body, message.Redelivered)
	}
	if err := message.Ack(false); err != nil {
		return err
	}
	if err := this.channel.Cancel("c1", false); err != nil {
		return err
	}
	queue, err := this.channel.QueueInspect(queueUser)
	if err == nil && (queue.Messages != 0 || queue.Consumers != 0) {
		err = fmt.Errorf("queue still has %d messages and %d consumers", queue.Messages, queue.Consumers)
	}
	return err
}

// mandatoryReturned publishes where no queue is bound, with mandatory, and expects the message back with its
// MessageId before the confirm.
func mandatoryReturned(conn *amqp.Connection) error {
	this, err := newMQ(conn)
	if err != nil {
		return err
	}
	defer this.channel.Close()
	if err := this.channel.Confirm(false); err != nil {
		return err
	}
	// Unbuffered, so that the client waits with the confirm until the return was taken.
	this.notifyConfirm = this.channel.NotifyPublish(make(chan amqp.Confirmation))
	this.notifyReturn = this.channel.NotifyReturn(make(chan amqp.Return))
	if err := this.send(exchangeUser, "nowhere", "lost", amqp.Publishing{MessageId: "message-1"}); err != nil {
		return err
	}
	select {
	case <-this.notifyConfirm:
		return errors.New("confirmed before it was returned")
	case ret := <-this.notifyReturn:
		if string(ret.Body) != "lost" || ret.MessageId != "message-1" || ret.ReplyCode != amqp.NoRoute {
			return fmt.Errorf("returned %q, MessageId %q, code %d", ret.Body, ret.MessageId, ret.ReplyCode)
		}
	case <-time.After(answerLimit):
		return errors.New("not returned")
	}
	if confirm := <-this.notifyConfirm; !confirm.Ack {
		return errors.New("not confirmed after the return")
	}
	return nil
}

// unroutableDropped: without mandatory the message is dropped, and confirmed.
func unroutableDropped(conn *amqp.Connection) error {
	this, err := newMQ(conn)
	if err != nil {
		return err
	}
	defer this.channel.Close()
	if err := this.channel.Confirm(false); err != nil {
		return err
	}
	this.notifyConfirm = this.channel.NotifyPublish(make(chan amqp.Confirmation, 1))
	err = this.channel.Publish(exchangeUser, "nowhere", false, false, amqp.Publishing{Body: []byte("dropped")})
	if err != nil {
		return err
	}
	select {
	case confirm := <-this.notifyConfirm:
		if !confirm.Ack {
			return errors.New("not confirmed")
		}
		return nil
	case <-time.After(answerLimit):
		return errors.New("no confirm")
	}
}

// deadLetterDelay makes a delay by hand: a queue whose messages expire into another exchange.
func deadLetterDelay(conn *amqp.Connection) error {
	this, err := newMQ(conn)
	if err != nil {
		return err
	}
	defer this.channel.Close()
	if err := this.channel.ExchangeDeclare(exchangeDead, "direct", false, false, false, false, nil); err != nil {
		return err
	}
	if _, err := this.channel.QueueDeclare(queueDead, false, false, false, false, nil); err != nil {
		return err
	}
	if err := this.channel.QueueBind(queueDead, routerKeyUserReg, exchangeDead, false, nil); err != nil {
		return err
	}
	arguments := amqp.Table{
		"x-message-ttl":             int32(1000),
		"x-dead-letter-exchange":    exchangeDead,
		"x-dead-letter-routing-key": routerKeyUserReg,
	}
	if _, err := this.channel.QueueDeclare(queueWaiting, false, false, false, false, arguments); err != nil {
		return err
	}
	messages, err := this.channel.Consume(queueDead, "", true, false, false, false, nil)
	if err != nil {
		return err
	}
	slow, err := this.atOnce()
	if err != nil {
		return err
	}
	sent := time.Now()
	if err := this.send("", queueWaiting, "expired", amqp.Publishing{}); err != nil {
		return err
	}
	message, err := next(messages, answerLimit)
	if err != nil {
		return err
	}
	if _, dead := message.Headers["x-death"]; !dead {
		return fmt.Errorf("no x-death in %v", message.Headers)
	}
	return onTime(sent, time.Second, slow)
}

// delayedRetry is the notes' sign-up: the first mail comes after 3 s and fails, the second, after twice as
// long, succeeds.
func delayedRetry(conn *amqp.Connection) error {
	this, err := newMQ(conn)
	if err != nil {
		return err
	}
	defer this.channel.Close()
	messages, err := this.consumeDelayed()
	if err != nil {
		return err
	}
	delay := int(firstDelay.Milliseconds())
	for attempt := 1; ; attempt++ {
		slow, err := this.atOnce()
		if err != nil {
			return err
		}
		sent := time.Now()
		if err := this.sendDelayed("1234", delay); err != nil {
			return err
		}
		message, err := next(messages, time.Duration(delay)*time.Millisecond+answerLimit)
		if err != nil {
			return err
		}
		if late := onTime(sent, time.Duration(delay)*time.Millisecond, slow); late != nil {
			if err := message.Ack(false); err != nil {
				return err
			}
			return fmt.Errorf("attempt %d: %w", attempt, late)
		}
		if attempt == 2 {
			return message.Ack(false)
		}
		if delay, err = doubled(message, delay); err != nil {
			return err
		}
		if err := message.Reject(false); err != nil {
			return err
		}
	}
}

func (this *mq) consumeDelayed() (<-chan amqp.Delivery, error) {
	err := this.channel.ExchangeDeclare(exchangeUserDelay, "x-delayed-message",
		false, false, false, false,
		map[string]interface{}{"x-delayed-type": "direct"},
	)
	if err != nil {
		return nil, err
	}
	if _, err := this.channel.QueueDeclare(queueUserDelayed, false, false, false, false, nil); err != nil {
		return nil, err
	}
	if err := this.channel.QueueBind(queueUserDelayed, routerKeyUserReg, exchangeUserDelay, false, nil); err != nil {
		return nil, err
	}
	return this.channel.Consume(queueUserDelayed, "", false, false, false, false, nil)
}

// doubled reads the delay from the message, as the notes do. The broker hands it out negated, as a sign that
// the delay is over.
func doubled(message amqp.Delivery, sent int) (int, error) {
	delay, ok := message.Headers["x-delay"].(int32)
	if !ok || int(delay) != -sent {
		return 0, fmt.Errorf("x-delay is %#v, expected int32 %d", message.Headers["x-delay"], -sent)
	}
	return int(-delay * 2), nil
}

func (this *mq) sendDelayed(body string, delay int) error {
	return this.send(exchangeUserDelay, routerKeyUserReg, body, amqp.Publishing{
		Headers: map[string]interface{}{"x-delay": delay},
	})
}

func (this *mq) send(exchange, key, body string, message amqp.Publishing) error {
	message.ContentType = "text/plain"
	message.Body = []byte(body)
	return this.channel.Publish(exchange, key, true, false, message)
}

// cleanUp deletes what the steps declared; deleting what is not there succeeds.
func cleanUp(conn *amqp.Connection) error {
	this, err := newMQ(conn)
	if err != nil {
		return err
	}
	defer this.channel.Close()
	for _, queue := range []string{queueUser, queueUserDelayed, queueWaiting, queueDead} {
		if _, err := this.channel.QueueDelete(queue, false, false, false); err != nil {
			return err
		}
	}
	for _, exchange := range []string{exchangeUser, exchangeUserDelay, exchangeDead} {
		if err := this.channel.ExchangeDelete(exchange, false, false); err != nil {
			return err
		}
	}
	return nil
}

func next(messages <-chan amqp.Delivery, limit time.Duration) (amqp.Delivery, error) {
	select {
	case message, open := <-messages:
		if !open {
			return message, errors.New("the channel was closed")
		}
		return message, nil
	case <-time.After(limit):
		return amqp.Delivery{}, fmt.Errorf("no message within %v", limit)
	}
}

// atOnce is the longest that a message without a delay takes, of twenty: what the machine is slow by.
func (this *mq) atOnce() (time.Duration, error) {
	queue, err := this.channel.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		return 0, err
	}
	messages, err := this.channel.Consume(queue.Name, "", true, true, false, false, nil)
	if err != nil {
		return 0, err
	}
	longest := time.Duration(0)
	for i := 0; i < 20; i++ {
		sent := time.Now()
		if err := this.send("", queue.Name, "at once", amqp.Publishing{}); err != nil {
			return 0, err
		}
		if _, err := next(messages, answerLimit); err != nil {
			return 0, err
		}
		if took := time.Since(sent); took > longest {
			longest = took
		}
	}
	return longest, nil
}

// tooLate is what a step ends with that judges time, and nothing else is wrong.
type tooLate struct{ took, latest time.Duration }

func (late tooLate) Error() string {
	return fmt.Sprintf("took %v, expected at most %v", late.took, late.latest)
}

// onTime is whether a delay is never early, and late by no more than it may besides what the machine is slow by.
func onTime(sent time.Time, delay, slow time.Duration) error {
	took, latest := time.Since(sent), delay+lateAtMost+slow
	if took < delay {
		return fmt.Errorf("took %v, expected at least %v", took, delay)
	}
	if took > latest {
		return tooLate{took, latest}
	}
	return nil
}

// bestOfThree is a step that may be late twice, since the machine may be busy with something else meanwhile.
func bestOfThree(run func(*amqp.Connection) error) func(*amqp.Connection) error {
	return func(conn *amqp.Connection) (err error) {
		for i := 0; i < 3; i++ {
			if err = run(conn); !errors.As(err, &tooLate{}) {
				return err
			}
		}
		return err
	}
}
